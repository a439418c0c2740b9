"""The one ordered list of admission plug-ins; the order is kube-apiserver's."""

from __future__ import annotations

from .base import Base, Chain
from .escalation import Escalation
from .lifecycle import NamespaceLifecycle
from .limits import LimitRanger
from .pods import DefaultTolerationSeconds, Priority, RuntimeClass, ServiceAccount, TaintNodesByCondition
from .podsecurity import PodSecurity
from .policies import MutatingPolicies, ValidatingPolicies
from .quota import ResourceQuota
from .small import DefaultIngressClass, DefaultStorageClass, VolumeProtection
from .webhooks import MutatingWebhook, ValidatingWebhook


def default_chain() -> Chain:
    plugins: list[Base] = [
        NamespaceLifecycle(),
        LimitRanger(),
        ServiceAccount(),
        TaintNodesByCondition(),
        Priority(),
        DefaultTolerationSeconds(),
        RuntimeClass(),
        DefaultStorageClass(),
        VolumeProtection(),
        DefaultIngressClass(),
        MutatingPolicies(),
        MutatingWebhook(),
        Escalation(),
        PodSecurity(),
        ValidatingPolicies(),
        ValidatingWebhook(),
        ResourceQuota(),
    ]
    return Chain(plugins)
