"""Layers as values, and the book of them: numbers that are never reused, writes that survive."""

from dataclasses import replace

import pytest

from hearth.core.attachments import Policy
from hearth.core.errors import ServiceError
from hearth.core.layers import Layer, LayerContent
from hearth.core.opt_trees import opt_name
from hearth.core.records import Configuration, Deployment, LayerReference, Package
from hearth.layer_wire import decode_layer, encode_layer
from hearth.layers import LayerBook
from hearth.testing import InMemoryStore
from hearth.wire import StoredRecordError

A, B, C = (letter * 64 for letter in "abc")


def content(sha256: str = A, runtimes: tuple[str, ...] | None = None) -> LayerContent:
    return LayerContent(Package(sha256, 1), created_ms=5, runtimes=runtimes)


def layer(*contents: LayerContent, name: str = "tools") -> Layer:
    made = Layer(name, "us-east-1", "000000000000")
    for each in contents:
        made, _ = made.published(each)
    return made


def test_numbers_count_up_and_the_same_content_gets_a_new_one() -> None:
    made = layer(content(), content(), content(B))

    assert [version.number for version in made.versions.values()] == [1, 2, 3]


def test_a_number_is_never_given_out_again() -> None:
    made = layer(content(), content()).without(2).without(1)

    _, version = made.published(content())

    assert version.number == 3


def test_the_newest_comes_first_and_unsuitable_ones_are_left_out() -> None:
    made = layer(content(runtimes=("python3.13",)), content(runtimes=("python3.13", "nodejs22.x")), content())

    assert [version.number for version in made.matching("python3.13", None)] == [2, 1]
    assert [version.number for version in made.matching(None, None)] == [3, 2, 1]
    assert list(made.matching("python3.13", "arm64")) == []


def test_no_layers_have_no_tree_and_one_has_its_own() -> None:
    assert opt_name(()) is None
    assert opt_name((A,)) == A


def test_the_order_of_layers_makes_another_tree() -> None:
    assert opt_name((A, B)) != opt_name((B, A))
    assert len(str(opt_name((A, B)))) == len(A)


def test_a_deployment_needs_its_packages_and_the_tree_of_its_layers() -> None:
    layers = tuple(LayerReference(f"arn:{sha256}", sha256, 1) for sha256 in (A, B))
    configuration = Configuration(role="r", runtime="python3.13", handler="h", layers=layers)
    deployment = Deployment(configuration, Package(C, 1))

    assert deployment.packages == {A, B, C}
    assert deployment.needed == {A, B, C, opt_name((A, B))}


def test_a_layer_is_stored_and_read_back_whole() -> None:
    made = layer(content(runtimes=("python3.13",)), replace(content(B), license_info="MIT", architectures=()))
    made = made.with_version(replace(made.versions[1], policy=Policy("{}", "r")))

    assert decode_layer(encode_layer(made)) == made


def test_what_is_no_layer_or_too_new_is_an_error() -> None:
    newer = encode_layer(layer()).replace(b'"schema_version":1', b'"schema_version":2')
    for stored in (b"", b"{}", newer):
        with pytest.raises(StoredRecordError):
            decode_layer(stored)


async def test_layers_survive_a_restart_and_a_record_nobody_can_read() -> None:
    store = InMemoryStore()
    book = LayerBook(store)
    await book.put(layer(content(), name="one"))
    await book.put(layer(content(), content(), name="another").without(1))
    store.records["broken"] = b"garbage"

    again = LayerBook(store)
    await again.load()

    assert list(again.names) == ["another", "one"]
    assert again.find("one") == layer(content(), name="one")
    found = again.find("another")
    assert found is not None
    assert found.published(content())[1].number == 3


async def test_packages_are_those_of_versions_that_exist() -> None:
    book = LayerBook(InMemoryStore())
    await book.put(layer(content(A), content(B), name="one"))
    await book.put(layer(content(C), name="two"))
    await book.put(layer(content(A), content(B), name="one").without(2))

    assert book.packages() == {A, C}


async def test_a_write_that_may_have_happened_keeps_its_package_until_it_is_settled() -> None:
    store = InMemoryStore()
    book = LayerBook(store)
    store.fail_next = True
    with pytest.raises(ServiceError):
        await book.put(layer(content(B)))

    assert book.find("tools") is None
    assert book.packages() == {B}

    await book.put(layer(content(A)))
    assert book.packages() == {A}
