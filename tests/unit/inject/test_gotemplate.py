"""Go's template language: what each construct gives, as Go's own template package gives it."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.istiod.inject.gotemplate import Map, Struct, TemplateError, render
from mizzen.istiod.inject.gotemplate.functions import FUNCTIONS

DATA: Any = Struct(
    {
        "name": "cart",
        "labels": {"app.kubernetes.io/name": "shop", "tier": "front"},
        "containers": [
            {"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]},
            {"name": "b"},
        ],
        "podIP": "192.0.2.1",
        "values": Map({"n": 3, "x.y": True, "list": ["p", "q"], "nothing": None}),
        "on": True,
    }
)


def of(text: str, **more: Any) -> str:
    return render(text, Struct({**DATA, **more}), FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ .Name }}", "cart"),
        ("{{.Name}}", "cart"),
        ("{{ .PodIP }}", "192.0.2.1"),
        ("[{{ .Missing.Deeper }}]", "[]"),
        ("a  {{- 1 -}}  b", "a1b"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a {{/* gone */}} b", "a  b"),
        ("{{ 3 -1 }}", ""),
        ('{{ "q\\"\\n\\u00e9" }}', 'q"\né'),
        ("{{ `raw\\n` }}", "raw\\n"),
        ("{{ 'a' }}", "97"),
        ("{{ 0x1F }} {{ 1_000 }} {{ 1.50 }} {{ -2 }}", "31 1000 1.5 -2"),
        ("{{ true }} {{ not .On }}", "true false"),
        ("{{ .Labels }}", "map[app.kubernetes.io/name:shop tier:front]"),
        ("{{ .Values.list }}", "[p q]"),
        ("{{ .Values.none }}", "<no value>"),
    ],
)
def test_text_and_values(text: str, expected: str) -> None:
    if text == "{{ 3 -1 }}":
        with pytest.raises(TemplateError, match="can't give argument to non-function"):
            of(text)
        return
    assert of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ if .On }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .Missing }}yes{{ else if eq .Name `cart` }}cart{{ else }}no{{ end }}", "cart"),
        ("{{ with .Values }}{{ .n }}{{ $.Name }}{{ end }}", "3cart"),
        ("{{ with .Missing }}x{{ else with .Name }}{{ . }}{{ end }}", "cart"),
        ("{{ range .Containers }}{{ .Name }},{{ end }}", "a,b,"),
        ("{{ range $i, $c := .Containers }}{{ $i }}={{ $c.Name }} {{ end }}", "0=a 1=b "),
        ("{{ range $k, $v := .Labels }}{{ $k }}:{{ $v }};{{ end }}", "app.kubernetes.io/name:shop;tier:front;"),
        ("{{ range .Missing }}x{{ else }}none{{ end }}", "none"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range .Containers }}{{ if eq .Name `b` }}{{ break }}{{ end }}{{ .Name }}{{ end }}", "a"),
        ("{{ range .Containers }}{{ if eq .Name `a` }}{{ continue }}{{ end }}{{ .Name }}{{ end }}", "b"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ with $x := .Name }}{{ $x }}{{ end }}", "cart"),
        ('{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" .Name }}', "<cart>"),
        ('{{ block "t" .Name }}[{{ . }}]{{ end }}', "[cart]"),
    ],
)
def test_control(text: str, expected: str) -> None:
    assert of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ .Name | upper | printf `%s-%d` }}", "CART-%!d(MISSING)"),
        ("{{ printf `%-5s|%03d|%q|%v|%%|%.2f` `ab` 7 `x` true 1.5 }}", 'ab   |007|"x"|true|%|1.50'),
        ('{{ index .Labels "app.kubernetes.io/name" }}', "shop"),
        ("{{ (index .Containers 0).Name }}", "a"),
        ("{{ index .Values `x.y` }}", "true"),
        ("{{ and .On .Name }} {{ or .Missing .Name }}", "cart cart"),
        ("{{ or .On (fail `looked at`) }}", "true"),
        ("{{ eq .Name `a` `cart` }} {{ ne 1 2 }} {{ lt 1 2 }} {{ ge 2 2 }}", "true true true true"),
        ("{{ len .Containers }} {{ slice .Name 1 3 }}", "2 ar"),
        ("{{ print 1 2 `a` 3 }}", "1 2a3"),
        ("{{ .Missing | default `d` }} {{ default `d` .Name }}", "d cart"),
        ("{{ ternary `a` `b` .On }} {{ coalesce .Missing `` `c` }}", "a c"),
        ("{{ trunc 2 .Name }}{{ trimSuffix `t` .Name }}{{ replace `a` `o` .Name }}", "cacarcort"),
        ("{{ list 1 2 3 | join `,` }} {{ splitList `,` `a,b` | last }}", "1,2,3 b"),
        ("{{ (dict `a` 1).a }} {{ hasKey .Labels `tier` }}", "1 true"),
        ("{{ add 1 2 }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ div -7 2 }}", "3 3 6 3 1 -3"),
        ("{{ toYaml .Labels | indent 2 }}", "  app.kubernetes.io/name: shop\n  tier: front"),
        ("a:{{ toYaml .Values.list | nindent 2 }}", "a:\n  - p\n  - q"),
        ("{{ toJson .Values.list }} {{ quote .Name }} {{ squote .Name }}", '["p","q"] "cart" \'cart\''),
        ("{{ b64enc `hi` }} {{ b64dec `aGk=` }}", "aGk= hi"),
        ("{{ regexMatch `^c.*t$` .Name }} {{ regexReplaceAll `(c)a` .Name `${1}o` }}", "true cort"),
    ],
)
def test_functions(text: str, expected: str) -> None:
    assert of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ annotation .ObjectMeta `x.test/a` `d` }} {{ annotation .ObjectMeta `x.test/b` 5 }}", "yes 5"),
        ("{{ isset .ObjectMeta.Annotations `x.test/a` }} {{ isset .ObjectMeta.Annotations `no` }}", "true false"),
        ("{{ applicationPorts .Containers }} {{ includeInboundPorts .Containers }}", "80,53 80"),
        ("{{ excludeInboundPort 15020 `80, 90` }} {{ excludeInboundPort `0` `80` }}", "80,90,15020 80"),
        ("{{ valueOrDefault .Missing `d` }} {{ contains .Name `ar` }} {{ toLower `AB` }}", "d true ab"),
        ("{{ omit .Labels `tier` }}", "map[app.kubernetes.io/name:shop]"),
        ("{{ mergeMaps (strdict `a` `1`) (strdict `a` `2` `b` `3`) | toJsonMap }}", '"a":"2","b":"3"'),
        ("{{ directory `/etc/certs/key.pem` }}", "/etc/certs/"),
        (
            "{{ appendMultusNetwork `` `istio-cni` }} {{ appendMultusNetwork `a, istio-cni` `istio-cni` }}",
            "istio-cni a, istio-cni",
        ),
        ('{{ appendMultusNetwork `[{"name":"a"}]` `c` }}', '[{"name":"a"}, {"name": "c"}]'),
        ("{{ structToJSON (index .Containers 1) }}", '{"name":"b"}'),
        ('{{ (fromJSON `{"a": 1}`).a }}', "1"),
    ],
)
def test_istios_functions(text: str, expected: str) -> None:
    assert of(text, objectMeta={"annotations": {"x.test/a": "yes"}}) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ nosuch }}", 'line 1: function "nosuch" not defined'),
        ("a\nb {{ $x }}", "line 2: undefined variable $x"),
        ("{{ .Name.Deeper }}", "can't evaluate field Deeper in str"),
        ("{{ if .On }}", "an {{end}} is missing"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ .Name", "an action has no end"),
        ("{{ template `t` }}", "is not defined"),
        ("{{ index .Containers 9 }}", "index out of range"),
        ("{{ fail `sorry` }}", "fail: sorry"),
        ('{{ define "t" }}{{ template "t" . }}{{ end }}{{ template "t" . }}', "without end"),
        ("{{ range .Name }}{{ end }}", "range can't iterate over cart"),
    ],
)
def test_what_goes_wrong(text: str, said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        of(text)
    assert said in str(refused.value)
