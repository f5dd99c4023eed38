"""What a program in each language writes to ask for a flag: with this portal's address and the flag's key and type."""

import json
from dataclasses import dataclass

from rollouts.models import Flag

BOOL, STRING, INT, FLOAT, JSON = "bool", "string", "int", "float", "json"


@dataclass(frozen=True, slots=True)
class Language:
    """`calls` and `defaults` by the flag's value type; @…@ in `install` and `code` is filled in."""

    key: str
    name: str
    file: str
    install: str
    code: str
    calls: dict[str, str]
    defaults: dict[str, str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    language: Language
    install: str
    code: str


def _by_type(boolean: str, string: str, whole: str, number: str, document: str) -> dict[str, str]:
    return {BOOL: boolean, STRING: string, INT: whole, FLOAT: number, JSON: document}


LANGUAGES = (
    Language(
        "python",
        "Python",
        "flag.py",
        "pip install openfeature-sdk openfeature-provider-ofrep",
        """\
import os

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

key = os.environ["FLIGHTDECK_KEY"]
api.set_provider(OFREPProvider("@URL@", headers_factory=lambda: {"Authorization": f"Bearer {key}"}))
client = api.get_client()

user = EvaluationContext("user-1", {"plan": "pro"})
value = client.@CALL@("@FLAG@", @DEFAULT@, user)
print(value)
""",
        _by_type("get_boolean_value", "get_string_value", "get_integer_value", "get_float_value", "get_object_value"),
        _by_type("False", '""', "0", "0.0", "{}"),
    ),
    Language(
        "javascript",
        "JavaScript, server",
        "flag.mjs",
        "npm install @openfeature/server-sdk @openfeature/core\n"
        "npm install @openfeature/ofrep-provider@0.1.3 @openfeature/ofrep-core@0.1.4",
        """\
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";

const headers = [["Authorization", `Bearer ${process.env.FLIGHTDECK_KEY}`]];
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: "@URL@", headers }));
const client = OpenFeature.getClient();

const user = { targetingKey: "user-1", plan: "pro" };
const value = await client.@CALL@("@FLAG@", @DEFAULT@, user);
console.log(JSON.stringify(value));
""",
        _by_type("getBooleanValue", "getStringValue", "getNumberValue", "getNumberValue", "getObjectValue"),
        _by_type("false", '""', "0", "0", "{}"),
        "The provider for servers and the one for browsers need different versions of ofrep-core: a folder each.",
    ),
    Language(
        "browser",
        "JavaScript, browser",
        "flag.mjs",
        "npm install @openfeature/web-sdk @openfeature/core @openfeature/ofrep-web-provider",
        """\
import { OpenFeature } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

// A key with the scope evaluate alone: every visitor can read it.
const key = "YOUR-KEY";
const headers = [["Authorization", `Bearer ${key}`]];
await OpenFeature.setContext({ targetingKey: "user-1", plan: "pro" });
await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: "@URL@", headers }));
const client = OpenFeature.getClient();

const value = client.@CALL@("@FLAG@", @DEFAULT@);
console.log(JSON.stringify(value));
client.addHandler("PROVIDER_CONFIGURATION_CHANGED", () => console.log(client.@CALL@("@FLAG@", @DEFAULT@)));
""",
        _by_type("getBooleanValue", "getStringValue", "getNumberValue", "getNumberValue", "getObjectValue"),
        _by_type("false", '""', "0", "0", "{}"),
        "All flags come with one request; a change arrives by an event stream and is told to the handler.",
    ),
    Language(
        "go",
        "Go",
        "main.go",
        "go get github.com/open-feature/go-sdk github.com/open-feature/go-sdk-contrib/providers/ofrep",
        """\
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"
)

func main() {
	provider := ofrep.NewProvider("@URL@", ofrep.WithBearerToken(os.Getenv("FLIGHTDECK_KEY")))
	if err := openfeature.SetProviderAndWait(provider); err != nil {
		panic(err)
	}
	client := openfeature.NewClient("app")

	user := openfeature.NewEvaluationContext("user-1", map[string]interface{}{"plan": "pro"})
	value, err := client.@CALL@(context.Background(), "@FLAG@", @DEFAULT@, user)
	fmt.Println(value, err)
}
""",
        _by_type("BooleanValue", "StringValue", "IntValue", "FloatValue", "ObjectValue"),
        _by_type("false", '""', "0", "0", "map[string]interface{}{}"),
    ),
    Language(
        "java",
        "Java",
        "App.java",
        "implementation 'dev.openfeature:sdk:1.+'\nimplementation 'dev.openfeature.contrib.providers:ofrep:0.0.+'",
        """\
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.openfeature.contrib.providers.ofrep.OfrepProvider;
import dev.openfeature.contrib.providers.ofrep.OfrepProviderOptions;
import dev.openfeature.sdk.Client;
import dev.openfeature.sdk.MutableContext;
import dev.openfeature.sdk.OpenFeatureAPI;
import dev.openfeature.sdk.Value;

public class App {
    public static void main(String[] args) {
        String key = System.getenv("FLIGHTDECK_KEY");
        OfrepProviderOptions options = OfrepProviderOptions.builder()
            .baseUrl("@URL@")
            .headers(ImmutableMap.of("Authorization", ImmutableList.of("Bearer " + key)))
            .build();
        OpenFeatureAPI.getInstance().setProviderAndWait(OfrepProvider.constructProvider(options));
        Client client = OpenFeatureAPI.getInstance().getClient();

        MutableContext user = new MutableContext("user-1").add("plan", "pro");
        System.out.println(client.@CALL@("@FLAG@", @DEFAULT@, user));
    }
}
""",
        _by_type("getBooleanValue", "getStringValue", "getIntegerValue", "getDoubleValue", "getObjectValue"),
        _by_type("false", '""', "0", "0.0", "new Value()"),
    ),
    Language(
        "dotnet",
        ".NET",
        "Program.cs",
        "dotnet add package OpenFeature\ndotnet add package OpenFeature.Providers.Ofrep",
        """\
using OpenFeature;
using OpenFeature.Model;
using OpenFeature.Providers.Ofrep;
using OpenFeature.Providers.Ofrep.Configuration;

var key = Environment.GetEnvironmentVariable("FLIGHTDECK_KEY");
var config = new OfrepConfiguration("@URL@")
{
    Headers = new Dictionary<string, string> { ["Authorization"] = $"Bearer {key}" }
};
await Api.Instance.SetProviderAsync(new OfrepProvider(config));
var client = Api.Instance.GetClient();

var user = EvaluationContext.Builder().SetTargetingKey("user-1").Set("plan", "pro").Build();
Console.WriteLine(await client.@CALL@("@FLAG@", @DEFAULT@, user));
""",
        _by_type(
            "GetBooleanValueAsync",
            "GetStringValueAsync",
            "GetIntegerValueAsync",
            "GetDoubleValueAsync",
            "GetObjectValueAsync",
        ),
        _by_type("false", '""', "0", "0.0", "new Value()"),
    ),
    Language(
        "ruby",
        "Ruby",
        "flag.rb",
        "gem install openfeature-sdk openfeature-ofrep-provider",
        """\
require "open_feature/sdk"
require "openfeature/ofrep/provider"

configuration = OpenFeature::OFREP::Configuration.new(
  base_url: "@URL@",
  headers: { "Authorization" => "Bearer #{ENV.fetch("FLIGHTDECK_KEY")}" }
)
OpenFeature::SDK.configure do |config|
  config.set_provider(OpenFeature::OFREP::Provider.new(configuration: configuration))
end
client = OpenFeature::SDK.build_client

user = OpenFeature::SDK::EvaluationContext.new(targeting_key: "user-1", plan: "pro")
puts client.@CALL@(flag_key: "@FLAG@", default_value: @DEFAULT@, evaluation_context: user)
""",
        _by_type(
            "fetch_boolean_value",
            "fetch_string_value",
            "fetch_integer_value",
            "fetch_float_value",
            "fetch_object_value",
        ),
        _by_type("false", '""', "0", "0.0", "{}"),
    ),
    Language(
        "php",
        "PHP",
        "flag.php",
        "composer require open-feature/sdk open-feature/go-feature-flag-provider",
        """\
<?php
require 'vendor/autoload.php';

use OpenFeature\\implementation\\flags\\Attributes;
use OpenFeature\\implementation\\flags\\MutableEvaluationContext;
use OpenFeature\\OpenFeatureAPI;
use OpenFeature\\Providers\\GoFeatureFlag\\config\\Config;
use OpenFeature\\Providers\\GoFeatureFlag\\GoFeatureFlagProvider;

$api = OpenFeatureAPI::getInstance();
$api->setProvider(new GoFeatureFlagProvider(new Config('@URL@', getenv('FLIGHTDECK_KEY'))));
$client = $api->getClient();

$user = new MutableEvaluationContext('user-1', new Attributes(['plan' => 'pro']));
var_dump($client->@CALL@('@FLAG@', @DEFAULT@, $user));
""",
        _by_type("getBooleanValue", "getStringValue", "getIntegerValue", "getFloatValue", "getObjectValue"),
        _by_type("false", "''", "0", "0.0", "[]"),
        "This provider asks by OFREP, so it works with every server of that protocol.",
    ),
    Language(
        "curl",
        "curl",
        "flag.sh",
        "",
        """\
curl -sS @URL@/ofrep/v1/evaluate/flags/@FLAG@ \\
  -H "Authorization: Bearer $FLIGHTDECK_KEY" -H "Content-Type: application/json" \\
  -d '{"context": {"targetingKey": "user-1", "plan": "pro"}}'
""",
        _by_type("", "", "", "", ""),
        _by_type("", "", "", "", ""),
    ),
)
BY_KEY = {language.key: language for language in LANGUAGES}


def example(language: Language, flag: Flag, url: str) -> Example:
    filled = {
        "@URL@": _plain(url),
        "@FLAG@": flag.key,
        "@CALL@": language.calls[flag.value_type],
        "@DEFAULT@": language.defaults[flag.value_type],
    }
    code = language.code
    for mark, value in filled.items():
        code = code.replace(mark, value)
    return Example(language, language.install, code)


def _plain(url: str) -> str:
    """The address as it may stand in a text of every language: no quotes, backslashes or dollars in it."""
    return json.dumps(url)[1:-1].replace("$", "%24").replace("'", "%27")
