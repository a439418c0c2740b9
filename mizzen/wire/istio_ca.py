"""istio.v1.auth: the messages and the one method of Istio's certificate service, as upb messages.

`CertificateRequest` {csr: PEM; validity_duration: seconds; metadata: Struct}, `CertificateResponse` {cert_chain:
PEM strings, leaf first, root bundle last}. Not here: who may ask for what (istiod/ca), or asking (the agent).
Source: istio.v1.auth.IstioCertificateService, method CreateCertificate.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = "CreateCertificate"
FULL_METHOD = f"/{SERVICE}/{METHOD}"

_FIELD = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="mizzen/istio_ca.proto",
        package="istio.v1.auth",
        syntax="proto3",
        dependency=[struct_pb2.DESCRIPTOR.name],
    )
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    request.field.add(name="validity_duration", number=3, type=_FIELD.TYPE_INT64, label=_FIELD.LABEL_OPTIONAL)
    request.field.add(
        name="metadata",
        number=4,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".google.protobuf.Struct",
        label=_FIELD.LABEL_OPTIONAL,
    )
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_REPEATED)
    return file


_pool = descriptor_pool.Default()
_pool.Add(_file())

CertificateRequest: Any = message_factory.GetMessageClass(
    _pool.FindMessageTypeByName("istio.v1.auth.IstioCertificateRequest")
)
CertificateResponse: Any = message_factory.GetMessageClass(
    _pool.FindMessageTypeByName("istio.v1.auth.IstioCertificateResponse")
)
