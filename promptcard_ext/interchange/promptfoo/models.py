"""From promptfoo's providers to model references, settings and addresses."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from promptcard_ext.core.card import ModelSettings
from promptcard_ext.core.errors import CardError, FileError
from promptcard_ext.interchange.promptfoo.imported import Endpoint
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.promptfoo.source import Source, reference

KNOWN = ("ollama", "openai", "simulated")


class Service(NamedTuple):
    """An endpoint that speaks the OpenAI protocol."""

    base_url: str
    key_env: str | None = None


# Addresses as the services document them.
COMPATIBLE = {
    "localai": Service("http://localhost:8080/v1"),
    "llamafile": Service("http://localhost:8080/v1"),
    "vllm": Service("http://localhost:8000/v1"),
    "lmstudio": Service("http://localhost:1234/v1"),
    "openrouter": Service("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "groq": Service("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Service("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek": Service("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "togetherai": Service("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "fireworks": Service("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "xai": Service("https://api.x.ai/v1", "XAI_API_KEY"),
    "cerebras": Service("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
}
_SETTINGS = {
    "max_completion_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "maxTokens": "max_tokens",
    "topP": "top_p",
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
}
# They go into the request as they are.
_EXTRA = frozenset({"logit_bias", "parallel_tool_calls", "service_tier", "store", "user", "verbosity"})
_USED = ("id", "label", "config", "prompts", "transform")
_ADDRESS = ("apiBaseUrl", "apiHost", "apiKey", "apiKeyEnvar")
_KEY_NAME = re.compile(r"\{\{-?\s*env(?:\.(\w+)|\[\s*['\"](\w+)['\"]\s*\])\s*-?\}\}")
_ANOTHER = "Name another model when you run it (--model)."
_OPENAI_FORMS = {"chat", "completion", "responses"}
_EMBEDDING_FORMS = {"embedding", "embeddings"}


class Model(NamedTuple):
    """A provider of the configuration in our terms.

    Attributes:
        reference: Such as ``openai:gpt-4o-mini``.
        settings: From its ``config``.
        prompts: Labels of the prompts that it is to answer; empty for all.
        transform: JavaScript that changes its answers before they are judged.
        embeds: Whether it makes embeddings, and no answers.
    """

    reference: str
    label: str
    settings: ModelSettings
    endpoint: Endpoint | None
    prompts: tuple[str, ...]
    transform: Node | None
    embeds: bool
    node: Node

    @property
    def provider(self) -> str:
        """Name of our provider."""
        return self.reference.partition(":")[0]


def read_models(node: Node, source: Source, known: Collection[str] = KNOWN) -> list[Model]:
    """Return the models of a ``providers`` section; what cannot be called from here is reported."""
    found: list[Model] = []
    for one in node:
        if isinstance(one.value, str) and one.value.startswith("file://"):
            found += _from_file(one, source, known)
        elif (model := read_model(one, source, known)) is not None:
            found.append(model)
    return found


def _from_file(node: Node, source: Source, known: Collection[str]) -> list[Model]:
    wanted = reference(node.value)
    if wanted.is_script:
        node.lost("provider_unsupported", f"'{node.value:.200}' is a program, and programs are not run as models")
        return []
    found: list[Model] = []
    for path in source.files(wanted, node):
        try:
            found += read_models(source.load(path), source, known)
        except FileError as error:
            node.lost(error.code, error.message)
    return found


def read_model(node: Node, source: Source, known: Collection[str] = KNOWN) -> Model | None:
    """Return one provider: a name, ``{id: …, config: …}``, or ``{name: {config: …}}``."""
    value = node.value
    if isinstance(value, str):
        return _model(value, node, {}, source, known)
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        _report_unused(node)
        return _model(value["id"], node, value, source, known)
    if isinstance(value, dict) and len(value) == 1:
        name, more = next(iter(value.items()))
        inner = node.child(str(name))
        _report_unused(inner)
        more = more if isinstance(more, dict) else {}
        return _model(str(more.get("id", name)), inner, more, source, known)
    node.lost("provider_unsupported", "this is no provider: it has no 'id'")
    return None


def _report_unused(node: Node) -> None:
    for key in node.value if isinstance(node.value, dict) else ():
        if key not in _USED and node.has(key):
            node.child(key).lost("option_unsupported", f"the provider option '{key!s:.60}' does not exist here")


def _model(name: str, node: Node, more: dict[str, Any], source: Source, known: Collection[str]) -> Model | None:
    found = _reference(name, node, known)
    if found is None:
        return None
    ours, embeds, service = found
    config = node.child("config") if node.has("config") else node.with_value({})
    prompts = more.get("prompts") or ()
    if more.get("label"):
        node.child("label").info("labels_left", "labels of models are not kept; results have the model's name")
    prompts = (prompts,) if isinstance(prompts, str) else tuple(str(one) for one in prompts)
    return Model(
        ours,
        str(more.get("label") or name),
        read_settings(config, source, _ADDRESS),
        _endpoint(config, service),
        prompts,
        node.child("transform") if node.has("transform") else None,
        embeds,
        node,
    )


def _reference(name: str, node: Node, known: Collection[str]) -> tuple[str, bool, Service | None] | None:
    """Return our reference, whether it embeds, and the service behind it."""
    parts = name.split(":")
    provider, form = parts[0], parts[1] if len(parts) > 2 else ""
    embeds = form in _EMBEDDING_FORMS
    model = ":".join(parts[2:] if form in _OPENAI_FORMS | _EMBEDDING_FORMS else parts[1:])
    if name == "echo":
        return "simulated:echo", False, None
    if reference(name).is_script:
        node.lost("provider_unsupported", f"'{name:.100}' is a program, and programs are not run as models", _ANOTHER)
        return None
    if not model and (provider in known or provider in COMPATIBLE):
        node.lost("provider_unsupported", f"'{name:.100}' names no model")
        return None
    if provider in COMPATIBLE:
        return f"openai:{model}", embeds, COMPATIBLE[provider]
    if provider == "openai" and form and form not in _OPENAI_FORMS | _EMBEDDING_FORMS and not form.startswith("ft"):
        node.lost("provider_unsupported", f"'{name:.100}' is no chat model; only chat completions are spoken here")
        return None
    if form in ("responses", "completion"):
        node.changed("provider_changed", f"'{name:.100}' is called through chat completions")
    if provider in known:
        return f"{provider}:{model}", embeds, None
    node.lost(
        "provider_unsupported",
        f"there is no provider for '{name:.100}'",
        f"There are {', '.join(sorted(known))}, and whatever speaks the OpenAI protocol, with 'apiBaseUrl'. {_ANOTHER}",
    )
    return None


def _endpoint(config: Node, service: Service | None) -> Endpoint | None:
    values = config.value if isinstance(config.value, dict) else {}
    base_url = values.get("apiBaseUrl") or (f"https://{values['apiHost']}/v1" if values.get("apiHost") else None)
    base_url = base_url or (service.base_url if service else None)
    key_env = values.get("apiKeyEnvar") or (service.key_env if service else None)
    if (key := values.get("apiKey")) is not None:
        named = _KEY_NAME.fullmatch(str(key).strip())
        key_env = (named[1] or named[2]) if named else key_env
        if not named:
            config.child("apiKey").changed(
                "key_in_file",
                "the key that stands in the file was not taken over",
                f"Set the environment variable {key_env or 'OPENAI_API_KEY'}, and take the key out of the file.",
            )
    if base_url:
        config.info("calls_go_to", f"calls go to {base_url!s:.200}, as the file says")
    return (
        Endpoint(str(base_url) if base_url else None, str(key_env) if key_env else None)
        if base_url or key_env
        else None
    )


def read_settings(config: Node, source: Source, elsewhere: Collection[str] = ()) -> ModelSettings:
    """Return model settings from a provider's or a prompt's ``config``; what does not exist here is reported."""
    settings: dict[str, Any] = {}
    for key, value in (config.value if isinstance(config.value, dict) else {}).items():
        name = _SETTINGS.get(key, key)
        if value is None or key in elsewhere:
            continue
        if key in _EXTRA or (key == "passthrough" and isinstance(value, dict)):
            name, value = "extra", settings.get("extra", {}) | ({key: value} if key in _EXTRA else value)
        elif key == "reasoning" and isinstance(value, dict) and set(value) == {"effort"}:
            name, value = "reasoning_effort", value["effort"]
        if name not in ModelSettings.__struct_fields__:
            config.child(key).lost("option_unsupported", f"the model setting '{key!s:.60}' does not exist here")
            continue
        if isinstance(value, str) and value.startswith("file://"):
            value = read_value(config.child(key), source)
        if name == "stop" and isinstance(value, str):
            value = [value]
        try:
            settings[name] = getattr(ModelSettings(**{name: value}), name)
        except CardError as error:
            config.child(key).lost("option_unsupported", error.message.rstrip("."))
    return ModelSettings(**settings)


def read_value(node: Node, source: Source) -> Any:
    """Return what a ``file://`` reference points at: a YAML or JSON value, or a text; None when it cannot be read."""
    wanted = reference(node.value)
    if wanted.is_script:
        node.lost("script_unsupported", f"'{node.value:.200}' is a program; programs are not run by an import")
        return None
    try:
        paths = source.files(wanted, node)
        if not paths:
            return None
        if wanted.suffix in (".yaml", ".yml", ".json"):
            return source.load(paths[0]).value
        return source.filled_text(paths[0]).strip()
    except FileError as error:
        node.lost(error.code, error.message.rstrip("."))
        return None
