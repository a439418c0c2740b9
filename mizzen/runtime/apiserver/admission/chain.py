"""The one ordered list of admission plug-ins; the order is kube-apiserver's."""

from __future__ import annotations

from .base import Base, Chain
from .lifecycle import NamespaceLifecycle
from .pods import DefaultTolerationSeconds, Priority, RuntimeClass, ServiceAccount, TaintNodesByCondition
from .small import DefaultIngressClass, DefaultStorageClass, VolumeProtection
from .webhooks import MutatingWebhook, ValidatingWebhook


def default_chain() -> Chain:
    plugins: list[Base] = [
        NamespaceLifecycle(),
        ServiceAccount(),
        TaintNodesByCondition(),
        Priority(),
        DefaultTolerationSeconds(),
        RuntimeClass(),
        DefaultStorageClass(),
        VolumeProtection(),
        DefaultIngressClass(),
        MutatingWebhook(),
        ValidatingWebhook(),
    ]
    return Chain(plugins)
