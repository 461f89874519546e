"""Mapping templates: what AWS's reference page shows, and that nothing unknown is guessed.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from sandbox.apigateway.templates import TemplateError, UnknownConstruct, render

BODY = '{"name": "Bob", "tags": ["a", "b"], "address": {"city": "Ulm", "zip code": 89073}, "none": null, "ok": true}'
PARAMS = {"path": {"id": "7"}, "querystring": {"id": "8", "page": "2 & more"}, "header": {"X-Team": "red"}}
CONTEXT: dict[str, Any] = {"requestId": "r-1", "httpMethod": "POST", "identity": {"sourceIp": "127.0.0.1"}}


def rendered(template: str, body: str = BODY) -> str:
    return render(template, body=body, params=PARAMS, context=CONTEXT, stage_variables={"table": "name"})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain, costs $5 and #1", "plain, costs $5 and #1"),
        ("$input.body", BODY),
        ("$input.json('$.name')", '"Bob"'),
        ("$input.json('$.tags')", '["a","b"]'),
        ("$input.json('$.tags[1]')", '"b"'),
        ("$input.json('$.address[\"zip code\"]')", "89073"),
        ("$input.json(\"$['address']['city']\")", '"Ulm"'),
        ("$input.json('$.nowhere')", '""'),
        ("$input.path('$.name')", "Bob"),
        ("$input.path('$.address').city", "Ulm"),
        ("$input.path('$.tags').size()", "2"),
        ("$input.path('$.tags')[0]", "a"),
        ("$input.params('id')", "7"),
        ("$input.params('page')", "2 & more"),
        ("$input.params('x-team')", "red"),
        ("$input.params('absent')", ""),
        ("$input.params().querystring.get('id')", "8"),
        ("$context.identity.sourceIp $context.requestId", "127.0.0.1 r-1"),
        ("$stageVariables.table/$stageVariables.absent", "name/"),
        ("$stageVariables.get('table')", "name"),
        ("${input.params('id')}x", "7x"),
        ("$missing $!missing|", "$missing |"),
        ("\\$input.body", "$input.body"),
        ("a## comment\nb#* and\nmore *#c", "abc"),
        ("#set($x = 'one')$x", "one"),
        ("#set($x = \"id $input.params('id')\")$x", "id 7"),
        ("#set($x = 2 + 3 * 4)$x", "14"),
        ("#set($x = {'a': 1})#set($x.b = 2)$x.a$x.b", "12"),
        ("#if($input.path('$.ok'))yes#{else}no#end", "yes"),
        ("#if($input.path('$.name') == 'Eve')E#elseif($input.path('$.name') == 'Bob')B#{else}x#end", "B"),
        ("#if($missing)yes#{else}no#end", "no"),
        ("#if(!$missing && 1 < 2)yes#end", "yes"),
        ("#foreach($t in $input.path('$.tags'))$t#if($foreach.hasNext),#end#end", "a,b"),
        ("#foreach($n in [1..3])$foreach.index:$n #end", "0:1 1:2 2:3 "),
        ("$input.body.replaceAll('.*', 'x').length()", "2"),
        ("$util.urlDecode($util.urlEncode('a b+c&ä~*'))", "a b+c&ä~*"),
        ("$util.urlEncode('a b+c&~*')", "a+b%2Bc%26%7E*"),
        ("$util.base64Decode($util.base64Encode('ä'))", "ä"),
        ("$util.parseJson('{\"a\": [1]}').a.get(0)", "1"),
    ],
)
def test_a_template_renders_as_the_reference_says(template: str, expected: str) -> None:
    assert rendered(template) == expected


def test_the_queue_template_survives_every_character() -> None:
    body = '{"a": "100% & more + ä = \\"x\\""}'
    form = rendered("Action=SendMessage&MessageBody=$util.urlEncode($input.body)", body)
    assert parse_qs(form) == {"Action": ["SendMessage"], "MessageBody": [body]}


def test_the_documented_idiom_makes_a_json_string_of_any_body() -> None:
    body = '{"it\'s": "a\\\\b", "path": "/x", "tab": "\\t", "ä": "\U0001f600"}'
    template = '{"MessageBody": "$util.escapeJavaScript($input.body).replaceAll("\\\\\'", "\'")"}'
    assert json.loads(rendered(template, body)) == {"MessageBody": body}


def test_the_consoles_passthrough_template_renders_to_json() -> None:
    template = """##  See the mapping template reference
#set($allParams = $input.params())
{
"body-json" : $input.json('$'),
"params" : {
#foreach($type in $allParams.keySet())
    #set($params = $allParams.get($type))
"$type" : {
    #foreach($paramName in $params.keySet())
    "$paramName" : "$util.escapeJavaScript($params.get($paramName))"
        #if($foreach.hasNext),#end
    #end
}
    #if($foreach.hasNext),#end
#end
},
"stage-variables" : {
#foreach($key in $stageVariables.keySet())
"$key" : "$util.escapeJavaScript($stageVariables.get($key))"
    #if($foreach.hasNext),#end
#end
},
"context" : {"http-method" : "$context.httpMethod", "source-ip" : "$context.identity.sourceIp"}
}
"""
    assert json.loads(rendered(template)) == {
        "body-json": json.loads(BODY),
        "params": PARAMS,
        "stage-variables": {"table": "name"},
        "context": {"http-method": "POST", "source-ip": "127.0.0.1"},
    }


def test_a_form_body_counts_as_one_json_string() -> None:
    assert rendered("{\"form\": $input.json('$')}", "a=1&b=2") == '{"form": "a=1&b=2"}'


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("$util.shout('x')", "shout"),
        ("$input.headers", "$input.headers"),
        ("$context.made.up", "$context.made"),
        ("#macro(m)x#end", "#macro"),
        ("#parse('x')", "#parse"),
        ("#something(1)", "#something"),
        ("#set($context.responseOverride.status = 400)", "$context.responseOverride.status"),
        ("$input.json('$..name')", "$..name"),
        ("$input.json('$.tags[?(@.x)]')", "$.tags"),
        ("$input.body.getClass()", "getClass"),
        ("$input.body.split(',')", "split"),
        ("#set($x = 4 / 2)", "division"),
        ("#set($x = 4 % 3)", "division"),
        ("$input.__class__", "$input"),
        ("$input.body.replaceAll('(?<x', '')", "(?<x"),
    ],
)
def test_an_unknown_construct_is_named_and_never_guessed(template: str, named: str) -> None:
    with pytest.raises(UnknownConstruct) as caught:
        rendered(template)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "#if(",
        "#if(true)never closed",
        "#end",
        "#else",
        "#set($x = )",
        "#foreach($x $y)#end",
        "$util.parseJson('{')",
        "$util.base64Decode('*')",
        "$util.urlEncode()",
        "$input.body.substring(5, 2)",
        "#set($x = " + "(" * 5000 + "1" + ")" * 5000 + ")",
        "#if(true)" * 5000,
        "#foreach($a in [1..99999])#foreach($b in [1..99999])0123456789#end#end",
    ],
)
def test_a_broken_template_is_an_error_and_nothing_else(template: str) -> None:
    with pytest.raises(TemplateError):
        rendered(template)


@pytest.mark.parametrize("body", ["", "[" * 100_000, "\x00", "\ud800", '{"a": NaN}', "null", '"' * 9])
def test_any_body_can_be_asked_for_its_json(body: str) -> None:
    assert isinstance(rendered("$input.json('$')$input.path('$')$util.urlEncode($input.body)", body), str)
