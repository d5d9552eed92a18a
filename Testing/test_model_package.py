"""Model packages: what is written is what is read, and nothing unsafe or damaged is ever taken in."""

import errno
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import stat
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from HLFDSegmentationLib import model_store
from HLFDSegmentationLib.errors import OutputError, PackageError
from HLFDSegmentationLib.layers import LAYERS, LayerTap
from HLFDSegmentationLib.model_package import read_package, write_package
from HLFDSegmentationLib.model_store import (
    find_package,
    import_package,
    list_packages,
    remove_package,
    shipped_folder,
    user_folder,
    verify_package,
)
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.tasks import TASKS

FILES = ("LICENSE", "configs/metadata.json", "docs/README.md", "manifest.json", "models/model.pt")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build_network("mobilenetv2-unet", 5).train()
    network(torch.rand(2, 1, 64, 64))  # batch normalisation gets statistics that are not the initial ones
    return network.eval()


@pytest.fixture(scope="module")
def arguments(network):
    return {
        "network": network,
        "network_name": "mobilenetv2-unet",
        "task": TASKS["abdomen"],
        "name": "small-abdomen",
        "title": "Liver and kidneys,\u00a0small",  # as pasted from a text
        "license": "CC-BY-4.0",
        "license_text": "Attribution 4.0 International\n",
        "training_data": [{"name": "Livers", "source": "https://example.org", "license": "CC0", "patients": 12}],
        "metrics": {"liver": {"dice": 0.95}, "kidney tumor": {"dice": None}},
        "card": "# Small model\n\nFor tests; kidney tumours unreliable, Röntgen.\n",
        "method": "hlfd",
        "seeds": {"split": 1, "training": 2},
    }


@pytest.fixture(scope="module")
def made(arguments, tmp_path_factory):
    """A folder and a zip with the same package; tests work on copies."""
    folder = tmp_path_factory.mktemp("made")
    write_package(folder / "small-abdomen", **arguments)
    write_package(folder / "model.zip", **arguments)
    return folder


@pytest.fixture
def package(made, tmp_path):
    return Path(shutil.copytree(made / "small-abdomen", tmp_path / "small-abdomen"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The user's folder, and no shipped models."""
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "store"))
    monkeypatch.setattr(model_store, "LIBRARY", tmp_path / "module" / "HLFDSegmentationLib")
    return tmp_path / "store"


@pytest.fixture
def shipped(made, tmp_path, store):
    """The package as one that ships, in a checkout's layout."""
    folder = tmp_path / "module" / "Resources" / "Models"
    shutil.copytree(made / "small-abdomen", folder / "small-abdomen")
    return folder


def rehash(package):
    """What an attacker does after changing a file: makes the manifest agree."""
    manifest = json.loads((package / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (package / name).read_bytes()
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (package / "manifest.json").write_text(json.dumps(manifest))


def edit_metadata(package, **entries):
    path = package / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["hlfd"].update(entries)
    path.write_text(json.dumps(metadata))
    rehash(package)


def edit_weights(package, change):
    path = package / "models" / "model.pt"
    tensors = torch.load(path, weights_only=True)
    torch.save(change(tensors) or tensors, path)
    rehash(package)


def contents(package, top="small-abdomen"):
    """The entries of a package's zip."""
    return {f"{top}/{name}": (package / name).read_bytes() for name in FILES}


def zip_of(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def assert_sentence(error, *words):
    text = str(error.value)
    assert (text[0].isupper() or Path(text.split()[0]).is_absolute()) and text.endswith(".")
    for word in words:
        assert word in text, text


# Writing and reading


@pytest.mark.parametrize("form", ["small-abdomen", "model.zip"])
def test_a_package_gives_back_the_model(made, form, network, arguments, store):
    package = read_package(made / form) if form == "small-abdomen" else import_package(made / form)
    assert package.task == TASKS["abdomen"]
    assert package.task.label("liver tumor").terminology == TASKS["abdomen"].label("liver tumor").terminology
    assert (package.name, package.title, package.network_name) == (
        "small-abdomen",
        "Liver and kidneys,\u00a0small",
        "mobilenetv2-unet",
    )
    assert (package.license, package.license_text) == ("CC-BY-4.0", "Attribution 4.0 International\n")
    for name in ("training_data", "metrics", "method", "seeds", "card"):
        assert getattr(package, name) == arguments[name]

    loaded = package.load_network()
    assert not any(module.training for module in loaded.modules())
    assert all(tensor.dtype == torch.float32 for tensor in loaded.parameters())
    assert package.layers == list(LAYERS) == list(loaded.layers)
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), LayerTap(loaded) as tap:
        difference = (loaded(images) - network(images)).abs().max() / network(images).abs().max()
        assert set(tap.outputs) == set(LAYERS)
    assert 0 < difference < 0.02


def test_weights_are_halves_and_statistics_stay_whole(package, network):
    tensors = torch.load(package / "models" / "model.pt", weights_only=True)
    assert type(tensors) is dict
    weights = dict(network.named_parameters())
    assert all(tensors[name].dtype == torch.float16 for name in weights)
    statistics = {name: tensor for name, tensor in network.state_dict().items() if name not in weights}
    assert statistics and all(torch.equal(tensors[name], statistics[name]) for name in statistics)
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < 5_000_000


def test_statistics_beyond_16_bits_are_kept(arguments, tmp_path):
    network = build_network("mobilenetv2-unet", 5)
    network.body.encoder[0][1].running_var.fill_(1e6)
    written = write_package(tmp_path / "model", **dict(arguments, network=network))
    assert read_package(written).load_network().body.encoder[0][1].running_var.max() == 1e6


def test_the_same_model_gives_the_same_bytes(made, arguments, tmp_path):
    reordered = dict(arguments, metrics=dict(reversed(arguments["metrics"].items())))
    again = write_package(tmp_path / "another-name.zip", **reordered)
    assert again.read_bytes() == (made / "model.zip").read_bytes()
    with zipfile.ZipFile(again) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == [f"small-abdomen/{name}" for name in FILES]
        assert archive.read("small-abdomen/docs/README.md") == (made / "small-abdomen/docs/README.md").read_bytes()


def test_the_manifest_has_the_hash_of_every_other_file(package):
    manifest = json.loads((package / "manifest.json").read_text())
    expected = {name: hashlib.sha256((package / name).read_bytes()).hexdigest() for name in FILES}
    del expected["manifest.json"]
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == expected
    assert read_package(package).weights_sha256 == expected["models/model.pt"]


@pytest.mark.parametrize("form", ["small-abdomen", "small-abdomen.zip"])
def test_monai_reads_the_metadata(made, form, arguments, tmp_path):
    from monai.bundle import load_bundle_config
    from monai.bundle.properties import MetaProperties
    from monai.utils import BundleProperty, BundlePropertyConfig

    path = made / form if form == "small-abdomen" else write_package(tmp_path / form, **arguments)
    parser = load_bundle_config(str(path))
    found = {name: parser.get(entry[BundlePropertyConfig.ID]) for name, entry in MetaProperties.items()}
    assert all(found[name] for name, entry in MetaProperties.items() if entry[BundleProperty.REQUIRED])
    assert found["channel_def"] == {
        "0": "background",
        "1": "liver",
        "2": "kidney",
        "3": "liver tumor",
        "4": "kidney tumor",
    }
    assert found["spatial_shape"] == ["32*n", "32*n"]
    for key in ("changelog", "task", "description", "authors", "copyright", "network_data_format"):
        assert parser.get(f"_meta_#{key}")


def test_the_license_file_names_the_license_where_there_is_no_text(arguments, tmp_path):
    write_package(tmp_path / "model", **dict(arguments, license_text=None))
    assert (tmp_path / "model" / "LICENSE").read_text() == "CC-BY-4.0\n"


@pytest.mark.parametrize("form", ["model", "model.zip"])
def test_writing_never_replaces_anything(arguments, tmp_path, form):
    (tmp_path / form).write_text("mine")
    with pytest.raises(OutputError) as error:
        write_package(tmp_path / form, **arguments)
    assert_sentence(error, "there already")
    assert (tmp_path / form).read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "My Model"}, "lowercase"),
        ({"name": "../up"}, "lowercase"),
        ({"name": ""}, "lowercase"),
        ({"name": "a" * 65}, "lowercase"),
        ({"name": "nul"}, "Windows"),
        ({"name": "com1"}, "Windows"),
        ({"network_name": "resnet99-unet"}, "resnet99-unet"),
        ({"network_name": "resnet18-unet"}, "too many or too few weights"),
        ({"task": TASKS["liver-tumor"], "metrics": {}}, "shape"),
        ({"metrics": {"liver": {"dice": float("nan")}}}, "NaN"),
        ({"metrics": {"spleen": {"dice": 0.9}}}, "spleen"),
        ({"metrics": {"liver": {"dice": "good"}}}, "liver"),
        ({"training_data": [{"name": "Livers"}]}, "training data"),
    ],
)
def test_what_cannot_be_read_back_is_not_written(arguments, tmp_path, change, words):
    for form in ("model", "model.zip"):
        with pytest.raises(PackageError) as error:
            write_package(tmp_path / form, **{**arguments, **change})
        assert_sentence(error, words)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("value", [1e5, float("inf"), float("nan")])
def test_a_weight_beyond_16_bits_is_not_written(arguments, tmp_path, value):
    network = build_network("mobilenetv2-unet", 5)
    with torch.no_grad():
        network.body.head[0].bias[3] = value
    with pytest.raises(PackageError) as error:
        write_package(tmp_path / "model", **dict(arguments, network=network))
    assert_sentence(error, "body.head.0.bias", "learning rate")
    assert everything_in(tmp_path) == []


# Damage


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_missing_file_is_found(package, name):
    path = package / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackageError) as error:
        read_package(package)
    assert_sentence(error, "small-abdomen", "manifest.json")
    path.unlink()
    with pytest.raises(PackageError) as error:
        read_package(package)
    assert_sentence(error, name, "missing")


def test_weights_that_change_after_reading_are_not_loaded(package):
    read = read_package(package)
    edit_weights(package, lambda tensors: {name: tensor * 0 for name, tensor in tensors.items()})
    with pytest.raises(PackageError) as error:
        read.load_network()
    assert_sentence(error, "models/model.pt")


@pytest.mark.parametrize("name", ["notes.txt", "configs/inference.json", "license", "models/model.pt2", "code/x.py"])
def test_an_extra_file_is_refused(package, name):
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text("x")
    with pytest.raises(PackageError) as error:
        read_package(package)
    assert_sentence(error, name.split("/")[0])


def test_what_file_managers_leave_does_no_harm(package, store):
    (package / ".DS_Store").write_text("x")
    (package / "models" / "Thumbs.db").write_text("x")
    (package / "docs" / "THUMBS.DB").write_text("x")
    (package / "._manifest.json").write_text("x")
    read_package(package)
    import_package(package)
    assert everything_in(store / "small-abdomen") == sorted([*FILES, "configs", "docs", "models"])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"schema_version": 2}, "Update HLFD"),
        ({"schema_version": None}, "Update HLFD"),
        ({"network": "vit-unet"}, "vit-unet"),
        ({"name": "../../x"}, "lowercase"),
        ({"name": 5}, "name"),
        ({"task": {"name": "liver"}}, "task"),
        ({"task": []}, "task"),
        ({"metrics": {"spleen": {}}}, "spleen"),
        ({"training_data": ["LiTS"]}, "training data"),
        ({"layers": None}, "layers"),
        # Whatever it is that a stranger writes there: it is formatted after a CT was segmented, and told in terminals.
        ({"metrics": {"liver": {"dice": 10**400}}}, "must be numbers"),
        ({"title": "\x1b[2J\rabdomen: official"}, "title must be one line"),
        ({"license": "\x1b[2Jfree"}, "license must be one line"),
        ({"title": ""}, "title must be one line of text"),
        ({"title": "\u00a0 "}, "title must be one line of text"),
        ({"license": " "}, "license must be one line of text"),
        ({"method": "x" * 1001}, "at most 1000 characters"),
        ({"network": "\x1b[31mAll fine"}, r"\x1b[31mAll fine"),
        ({"training_data": [{"name": "\x1b[2J", "source": "", "license": "", "patients": 1}]}, "name must be one line"),
        ({"schema_version": "\x1b[2J"}, "version unknown"),
        # In percent it would pass for a good model.
        ({"metrics": {"liver": {"dice": 53.7}}}, "'dice' of 53.7, which cannot be"),
        ({"metrics": {"liver": {"test_dice": -0.1}}}, "'test_dice' of -0.1"),
        ({"metrics": {"liver": {"dice": 0.9, "patients": -3}}}, "'patients' of -3"),
        ({"metrics": {"liver": {"dice": 0.9, "slices": 2.5}}}, "'slices' of 2.5"),
        ({"metrics": {"liver": {"dice": True}}}, "must be numbers"),
    ],
)
def test_wrong_metadata_is_refused(package, entries, words):
    edit_metadata(package, **entries)
    with pytest.raises(PackageError) as error:
        read_package(package)
    assert_sentence(error, words)


@pytest.mark.parametrize("name", ["manifest.json", "configs/metadata.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"x": NaN}', "[" * 100_000, "\xff", '{"x": 1e999}'])
def test_json_that_is_no_json_is_refused(package, name, text):
    (package / name).write_bytes(text.encode("latin-1"))
    if name != "manifest.json":
        rehash(package)
    with pytest.raises(PackageError) as error:
        read_package(package)
    assert_sentence(error, "small-abdomen", "JSON")


def test_another_monai_bundle_is_refused(package):
    (package / "configs" / "metadata.json").write_text('{"version": "0.1.0"}')
    rehash(package)
    with pytest.raises(PackageError) as error:
        read_package(package)
    assert_sentence(error, "'hlfd' in configs/metadata.json")


def test_a_manifest_of_another_version_says_what_to_do(package):
    manifest = json.loads((package / "manifest.json").read_text())
    (package / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 2}))
    with pytest.raises(PackageError) as error:
        read_package(package)
    assert_sentence(error, "version 2", "Update HLFD")


def test_other_layer_names_are_refused(package):
    edit_metadata(package, layers=["encoder1"])
    with pytest.raises(PackageError) as error:
        read_package(package).load_network()
    assert_sentence(error, "layers")


# Weights


def _drop(tensors):
    del tensors["body.head.0.bias"]


def _add(tensors):
    tensors["body.extra"] = torch.zeros(1, dtype=torch.float16)


def _reshape(tensors):
    tensors["body.head.0.bias"] = torch.zeros(21, dtype=torch.float16)


def _retype(tensors):
    tensors["body.head.0.bias"] = torch.zeros(20, dtype=torch.int64)


def _not_a_number(tensors):
    tensors["body.head.0.bias"][0] = float("nan")


def _pretend(tensors):
    tensors["body.head.0.bias"] = torch.zeros(1, dtype=torch.float16).expand(10**12)


def _sparse(tensors):
    tensors["body.head.0.bias"] = torch.zeros(20, dtype=torch.float16).to_sparse()


def _meta(tensors):
    tensors["body.head.0.bias"] = torch.zeros(20, dtype=torch.float16, device="meta")


def _not_a_tensor(tensors):
    tensors["body.head.0.bias"] = [0.0] * 20


def _list(tensors):
    return list(tensors.values())


@pytest.mark.parametrize(
    "change", [_drop, _add, _reshape, _retype, _not_a_number, _pretend, _sparse, _meta, _not_a_tensor, _list]
)
def test_weights_that_do_not_fit_are_refused(package, change, store):
    edit_weights(package, change)
    with pytest.raises(PackageError) as error:
        read_package(package).load_network()
    assert_sentence(error, "small-abdomen")
    with pytest.raises(PackageError):
        import_package(package)
    assert everything_in(store) == []


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def _torch_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _compressed(content):
    """The same torch file with entries that are compressed, and one that grows a thousandfold."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry) + bytes(10**7 if entry.filename.endswith("/data/0") else 0))
    return buffer.getvalue()


def _scripted():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["torch", "tensor dictionary", "pickle", "module", "script", "garbage", "compressed"])
def test_program_code_in_the_weights_is_refused_and_never_runs(package, kind, tmp_path, store, network):
    trace = tmp_path / "code-has-run"
    tensors = {"body.head.0.bias": torch.zeros(20)}
    content = {
        "torch": lambda: _torch_bytes(Malicious(trace)),
        "tensor dictionary": lambda: _torch_bytes({**tensors, "x": Malicious(trace)}),
        "pickle": lambda: pickle.dumps(Malicious(trace)),
        "module": lambda: _torch_bytes(network),
        "script": _scripted,
        "garbage": lambda: b"PK\x03\x04" + random.Random(0).randbytes(1000),
        "compressed": lambda: _compressed((package / "models" / "model.pt").read_bytes()),
    }[kind]()
    (package / "models" / "model.pt").write_bytes(content)
    rehash(package)
    with pytest.raises(PackageError) as error:
        read_package(package).load_network()
    assert_sentence(error, "models/model.pt", "would grow" if kind == "compressed" else "")
    for source in (package, zip_of(tmp_path / "model.zip", contents(package))):
        with pytest.raises(PackageError):
            import_package(source)
    assert not trace.exists()
    assert everything_in(store) == []


def test_the_malicious_pickle_of_these_tests_is_one(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(Malicious(tmp_path / "code-has-run"), path)
    torch.load(path, weights_only=False).close()
    assert (tmp_path / "code-has-run").exists()


# Importing


def _entry(name, mode=0, flags=0, method=zipfile.ZIP_STORED):
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    entry.flag_bits = flags
    entry.compress_type = method
    return entry


def _with(name, content=b"x"):
    return lambda good: {**good, name: content}


def _replacing(file, content=None, **attributes):
    def change(good):
        name = f"small-abdomen/{file}"
        old = good.pop(name)
        return {**good, _entry(name, **attributes): old if content is None else content}

    return change


STRANGER = "no file of a model package"
REPACKED = "Unpack it, and import the folder that holds manifest.json"
UNSAFE = {
    "climbs out": (_with("../outside"), STRANGER),
    "climbs out of its folder": (_with("small-abdomen/../../outside"), STRANGER),
    "climbs through a known folder": (_with("small-abdomen/models/../../../outside"), STRANGER),
    "absolute": (_with("/tmp/outside"), STRANGER),
    "drive letter": (_with("C:/outside"), STRANGER),
    "backslashes": (_with("small-abdomen\\..\\..\\outside"), STRANGER),
    "all climb": (lambda good: {f"../{name.partition('/')[2]}": good[name] for name in good}, STRANGER),
    "an own name behind a climb": (_with("small-abdomen/../LICENSE"), STRANGER),
    "no folder": (lambda good: {name.partition("/")[2]: good[name] for name in good}, REPACKED),
    "two folders": (_with("other/LICENSE"), REPACKED),
    "symbolic link": (_replacing("LICENSE", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "link"),
    "device": (_replacing("LICENSE", b"", mode=stat.S_IFCHR | 0o666), "special file"),
    "case collision": (_with("small-abdomen/license"), STRANGER),
    "long name": (_with("small-abdomen/" + "a" * 300), STRANGER),
    "extra file": (_with("small-abdomen/models/extra.pt"), STRANGER),
    "program": (_with("small-abdomen/code.py", b"raise SystemExit"), STRANGER),
    "extra folder": (_with("small-abdomen/code/", b""), STRANGER),
    "many entries": (lambda good: {**good, **{f"small-abdomen/{number}": b"" for number in range(200)}}, "205 entries"),
    "missing": (lambda good: {name: good[name] for name in good if not name.endswith("LICENSE")}, "LICENSE is missing"),
    "wrong hash": (_replacing("LICENSE", b"Public domain"), "changed or damaged"),
    "a CT": (lambda good: {f"slice{number}.dcm": b"" for number in range(200)}, "3D Slicer loads it by Add DICOM Data"),
    "empty zip": (lambda good: {}, "0 entries"),
    "bomb": (_replacing("models/model.pt", bytes(40_000_000), method=zipfile.ZIP_DEFLATED), "200 times"),
    "large text": (_replacing("docs/README.md", random.Random(0).randbytes(1_100_000)), "larger than 1 MB"),
    "bzip2": (_replacing("docs/README.md", method=zipfile.ZIP_BZIP2), "unusual way"),
    "lzma": (_replacing("docs/README.md", method=zipfile.ZIP_LZMA), "unusual way"),
}


@pytest.mark.parametrize(("change", "words"), UNSAFE.values(), ids=UNSAFE.keys())
def test_an_unsafe_zip_is_refused_and_leaves_nothing(made, tmp_path, store, change, words):
    source = zip_of(tmp_path / "model.zip", change(contents(made / "small-abdomen")))
    before = everything_in(tmp_path)
    with pytest.raises(PackageError) as error:
        import_package(source)
    assert_sentence(error, "The model package model.zip cannot be used: ", words)
    with pytest.raises(PackageError):
        verify_package(source)
    assert [name for name in everything_in(tmp_path) if name != "store"] == before
    assert list_packages() == []


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_entries_of_one_name_are_refused(made, tmp_path, store):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for name, content in contents(made / "small-abdomen").items():
            archive.writestr(name, content)
        archive.writestr("small-abdomen/LICENSE", "Public domain")
    with pytest.raises(PackageError) as error:
        import_package(tmp_path / "model.zip")
    assert_sentence(error, "LICENSE twice")
    assert everything_in(store) == []


def _patch_directory(path, name, offset, value):
    """Changes what both records of a zip entry claim, at this offset of the central one."""
    content = bytearray(path.read_bytes())
    central = content.rindex(name.encode()) - 46
    local = struct.unpack_from("<I", content, central + 42)[0]
    width = {8: "<H", 24: "<I"}[offset]
    struct.pack_into(width, content, central + offset, value)
    struct.pack_into(width, content, local + offset - 2, value)
    path.write_bytes(content)


def test_an_encrypted_zip_is_refused(made, tmp_path, store):
    source = zip_of(tmp_path / "model.zip", contents(made / "small-abdomen"))
    _patch_directory(source, "small-abdomen/LICENSE", 8, 1)
    with pytest.raises(PackageError) as error:
        import_package(source)
    assert_sentence(error, "encrypted")
    assert everything_in(store) == []


def test_a_zip_that_lies_about_its_sizes_is_refused(made, tmp_path, store):
    entries = _replacing("LICENSE", bytes(30_000_000), method=zipfile.ZIP_DEFLATED)(contents(made / "small-abdomen"))
    source = zip_of(tmp_path / "model.zip", entries)
    _patch_directory(source, "small-abdomen/LICENSE", 24, 1000)
    with pytest.raises(PackageError) as error:
        import_package(source)
    assert_sentence(error, "damaged")
    assert everything_in(store) == []


def test_a_declared_size_of_gigabytes_is_refused_before_unpacking(made, tmp_path, store):
    source = zip_of(tmp_path / "model.zip", contents(made / "small-abdomen"))
    _patch_directory(source, "small-abdomen/models/model.pt", 24, 4_000_000_000)
    with pytest.raises(PackageError) as error:
        import_package(source)
    assert_sentence(error, "larger than 500 MB")
    assert everything_in(store) == []


def test_any_damage_to_a_zip_ends_in_a_sentence(made, tmp_path, store):
    # Without the weights the zip is small, so that most changes hit its structure.
    good = {name: content for name, content in contents(made / "small-abdomen").items() if "model.pt" not in name}
    original = zip_of(tmp_path / "good.zip", {**good, "small-abdomen/models/model.pt": b"x"}).read_bytes()
    source = tmp_path / "model.zip"
    generator = random.Random(0)
    for _ in range(120):
        damaged = bytearray(original)
        for _ in range(generator.choice([1, 1, 4])):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        if generator.random() < 0.1:
            del damaged[generator.randrange(len(damaged)) :]
        source.write_bytes(damaged)
        with pytest.raises(PackageError) as error:
            import_package(source)
        assert_sentence(error)
    assert everything_in(store) == []


def test_files_that_are_no_packages_are_refused(tmp_path, store):
    (tmp_path / "text.zip").write_text("not a zip")
    (tmp_path / "empty").mkdir()
    for name, word in (("text.zip", "neither"), ("empty", "missing"), ("absent.zip", "no such file")):
        with pytest.raises(PackageError) as error:
            import_package(tmp_path / name)
        assert_sentence(error, name, word)
    assert everything_in(store) == []


def test_a_zip_that_may_not_be_read_is_not_called_damaged(store, made, monkeypatch):

    def refuse(path, *_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PackageError, match=r"model.zip .*cannot be opened: Permission denied"):
        import_package(made / "model.zip")


def test_a_file_is_no_model_yet_and_the_advice_can_be_typed(store, tmp_path):
    (tmp_path / "Mein Modell.zip").write_bytes(b"PK")
    with pytest.raises(PackageError, match=r"hlfd models import '.*Mein Modell\.zip'"):
        find_package(tmp_path / "Mein Modell.zip")


@pytest.mark.parametrize("name", ["LICENSE", "models/model.pt", "configs"])
def test_a_folder_with_a_link_is_refused(package, tmp_path, store, name):
    original = tmp_path / "elsewhere"
    (package / name).rename(original)
    (package / name).symlink_to(original, target_is_directory=original.is_dir())
    for action in (read_package, import_package):
        with pytest.raises(PackageError) as error:
            action(package)
        assert_sentence(error, name, "link")
    assert everything_in(store) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_folder_with_a_pipe_is_refused(package, store):
    (package / "LICENSE").unlink()
    os.mkfifo(package / "LICENSE")
    with pytest.raises(PackageError) as error:
        import_package(package)
    assert_sentence(error, "LICENSE")


def test_a_folder_that_is_large_by_far_is_not_walked(tmp_path, store):
    deep = tmp_path / "photos" / "2020" / "01"
    deep.mkdir(parents=True)
    with pytest.raises(PackageError) as error:
        import_package(tmp_path / "photos")
    assert_sentence(error, "'2020'")


def test_a_store_that_cannot_be_written_gives_a_sentence(made, tmp_path, monkeypatch, store):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "file" / "store"))
    with pytest.raises(OutputError) as error:
        import_package(made / "model.zip")
    assert_sentence(error, "models folder")


# The store


def test_an_imported_model_is_found_by_name_until_it_is_removed(made, store):
    assert list_packages() == []
    imported = import_package(made / "model.zip")
    assert everything_in(store) == sorted(
        ["small-abdomen", *(f"small-abdomen/{name}" for name in (*FILES, "configs", "docs", "models"))]
    )
    assert imported.path == store / "small-abdomen"
    assert find_package("small-abdomen") == imported
    assert verify_package("small-abdomen") == imported
    [stored] = list_packages()
    assert (stored.name, stored.imported, stored.package, stored.problem) == ("small-abdomen", True, imported, None)
    imported.load_network()
    remove_package("small-abdomen")
    assert everything_in(store) == []
    with pytest.raises(PackageError) as error:
        find_package("small-abdomen")
    assert_sentence(error, "small-abdomen", "none yet")


def test_a_zip_with_folder_entries_as_other_tools_write_it_is_imported(made, tmp_path, store):
    shutil.make_archive(str(tmp_path / "model"), "zip", made, "small-abdomen")
    assert any(name.endswith("/") for name in zipfile.ZipFile(tmp_path / "model.zip").namelist())
    import_package(tmp_path / "model.zip").load_network()


def test_a_path_is_a_package_too(package, made, store, monkeypatch):
    assert find_package(package).path == package
    assert find_package(str(package)).name == "small-abdomen"
    verify_package(package)
    assert verify_package(made / "model.zip").path == made / "model.zip"
    monkeypatch.chdir(package.parent)
    assert find_package("./small-abdomen").name == "small-abdomen"
    with pytest.raises(PackageError) as error:
        find_package(made / "model.zip")
    assert_sentence(error, "hlfd models import")


def test_a_name_is_never_taken_twice(made, store, shipped, tmp_path, arguments):
    with pytest.raises(PackageError) as error:
        import_package(made / "model.zip")
    assert_sentence(error, "installed already", str(shipped))
    assert everything_in(store) == []
    other = write_package(tmp_path / "other.zip", **dict(arguments, name="other"))
    first = import_package(other)
    with pytest.raises(PackageError) as error:
        import_package(other)
    assert_sentence(error, "hlfd models remove other")
    assert everything_in(store)[0] == "other" and find_package("other") == first


def test_a_model_that_ships_later_under_an_imported_name_does_not_hide_it(made, store, tmp_path, request):
    import_package(made / "model.zip")
    request.getfixturevalue("shipped")
    with pytest.raises(PackageError) as error:
        find_package("small-abdomen")
    assert_sentence(error, "Two models", "hlfd models remove small-abdomen")
    assert all(stored.problem for stored in list_packages()) and len(list_packages()) == 2
    remove_package("small-abdomen")
    assert find_package("small-abdomen").path.parent == shipped_folder()


@pytest.mark.parametrize("layout", ["checkout", "wheel"])
def test_the_shipped_abdomen_model_is_the_default(shipped, layout, arguments, tmp_path):
    network = build_network("mobilenetv2-unet", 3)
    kidney = dict(arguments, name="a-kidney", network=network, task=TASKS["kidney-tumor"], metrics={})
    write_package(shipped / "a-kidney", **kidney)
    (shipped / "__pycache__").mkdir()
    if layout == "wheel":
        (tmp_path / "module" / "HLFDSegmentationLib").mkdir()
        shipped = shipped.rename(tmp_path / "module" / "HLFDSegmentationLib" / "Models")
    assert find_package().path == shipped / "small-abdomen"
    assert [(stored.name, stored.imported) for stored in list_packages()] == [
        ("a-kidney", False),
        ("small-abdomen", False),
    ]


def test_a_shipped_model_cannot_be_removed(shipped):
    with pytest.raises(PackageError) as error:
        remove_package("small-abdomen")
    assert_sentence(error, "ships with HLFD")
    find_package("small-abdomen").load_network()


def test_only_models_can_be_removed(store, tmp_path):
    (tmp_path / "precious").mkdir()
    store.mkdir()
    for name in ("../precious", str(tmp_path / "precious"), "", ".", "absent"):
        with pytest.raises(PackageError) as error:
            remove_package(name)
        assert_sentence(error)
    assert (tmp_path / "precious").is_dir() and store.is_dir()


def test_a_damaged_model_is_listed_with_its_problem_and_can_be_removed(made, store):
    import_package(made / "model.zip")
    (store / "small-abdomen" / "LICENSE").write_text("Public domain")
    [stored] = list_packages()
    assert stored.package is None and "LICENSE" in stored.problem
    with pytest.raises(PackageError):
        find_package("small-abdomen")
    remove_package("small-abdomen")
    assert list_packages() == []


def test_a_folder_of_models_that_may_not_be_read_leaves_the_shipped_ones(shipped, store, monkeypatch):
    real_iterdir, real_is_dir = Path.iterdir, Path.is_dir

    def refusing(real):
        def ask(path, *arguments):
            if (path == store and real is real_iterdir) or path.parent == store:
                raise PermissionError(13, "Permission denied")
            return real(path, *arguments)

        return ask

    store.mkdir()
    monkeypatch.setattr(Path, "iterdir", refusing(real_iterdir))
    monkeypatch.setattr(Path, "is_dir", refusing(real_is_dir))
    assert find_package().name == find_package("small-abdomen").name == "small-abdomen"
    assert [stored.name for stored in list_packages() if stored.package] == ["small-abdomen"]
    (problem,) = [stored for stored in list_packages() if stored.problem]
    assert not problem.imported and "Permission denied" in problem.problem and str(store) in problem.problem
    with pytest.raises(PackageError) as error:
        find_package("mine")
    assert_sentence(error, "cannot be read", "HLFD_MODELS")


def test_a_file_that_is_named_as_the_folder_of_models_is_told(shipped, tmp_path, monkeypatch):
    (tmp_path / "models.txt").write_text("x")
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models.txt"))
    assert [stored.name for stored in list_packages() if stored.package] == ["small-abdomen"]
    (problem,) = [stored.problem for stored in list_packages() if stored.problem]
    assert "models.txt" in problem and "Not a directory" in problem


def test_the_shipped_models_are_not_removed_where_their_folder_is_named_as_the_users(shipped, monkeypatch):
    for named in (shipped, shipped / ".." / "Models"):
        monkeypatch.setenv("HLFD_MODELS", str(named))
        assert [(stored.name, stored.imported) for stored in list_packages()] == [("small-abdomen", False)]
        find_package("small-abdomen")
        with pytest.raises(PackageError) as error:
            remove_package("small-abdomen")
        assert_sentence(error, "ships with HLFD")
    assert (shipped / "small-abdomen").is_dir()


def test_a_zip_that_a_mac_made_again_is_imported_as_a_folder(package, store, tmp_path):
    entries = {**contents(package), "__MACOSX/small-abdomen/._LICENSE": b"x"}
    with pytest.raises(PackageError) as error:
        import_package(zip_of(tmp_path / "mac.zip", entries))
    assert_sentence(error, "Finder", "import the folder")
    assert import_package(package).name == "small-abdomen"


def _moved(place):
    """The same files in another folder of the zip, with entries for the folders as many programs write them."""
    return lambda good: {place: b"", **{name.replace("small-abdomen/", place): good[name] for name in good}}


PACKED_AGAIN = {
    "the content of the folder": lambda good: {"configs/": b"", **_moved("")(good)},
    "a name with capitals": _moved("Mine/"),
    "a folder in a folder": lambda good: {"mine/": b"", **_moved("mine/mine/")(good)},
    "backslashes": lambda good: {name.replace("/", "\\"): good[name] for name in good},
    "a Mac's hidden file": _with("small-abdomen/.DS_Store"),
    "Windows' hidden file": _with("small-abdomen/docs/desktop.ini"),
    "what a Mac keeps beside files": _with("small-abdomen/._LICENSE"),
}


@pytest.mark.parametrize("change", PACKED_AGAIN.values(), ids=PACKED_AGAIN.keys())
def test_an_intact_package_that_was_zipped_again_is_told_as_such(made, package, store, tmp_path, change):
    """It was called no package, and to be got again; unpacked, it is one."""
    entries = {name: content for name, content in change(contents(made / "small-abdomen")).items() if name}
    with pytest.raises(PackageError) as error:
        import_package(zip_of(tmp_path / "again.zip", entries))
    assert_sentence(error, "zipped again", REPACKED)
    assert import_package(package).name == "small-abdomen"


def test_a_package_in_the_folder_that_windows_unpacks_to_is_pointed_at(package, store, tmp_path):
    outer = tmp_path / "model"
    outer.mkdir()
    (outer / "desktop.ini").write_text("x")
    inner = package.rename(outer / "small-abdomen")
    with pytest.raises(PackageError) as error:
        import_package(outer)
    assert_sentence(error, "lies in its folder 'small-abdomen'. Import that folder.")
    assert import_package(inner).name == "small-abdomen"


def test_no_name_is_no_model(store):
    with pytest.raises(PackageError) as error:
        find_package("")
    assert_sentence(error, "choose one")


def test_of_two_imports_at_once_the_second_is_told_of_the_first(made, store, monkeypatch):
    real = model_store.replace_waiting

    def second(source, destination):
        shutil.copytree(made / "small-abdomen", destination)
        real(source, destination)

    monkeypatch.setattr(model_store, "replace_waiting", second)
    with pytest.raises(PackageError) as error:
        import_package(made / "model.zip")
    assert_sentence(error, "is installed already")
    assert everything_in(store)[0] == "small-abdomen" and list_packages()[0].package


def test_a_renamed_folder_is_a_problem(package, store):
    store.mkdir()
    package.rename(store / "renamed")
    [stored] = list_packages()
    assert "renamed" in stored.problem and "small-abdomen" in stored.problem


def test_without_a_default_model_the_user_is_told(store, request):
    with pytest.raises(PackageError) as error:
        find_package()
    assert_sentence(error, "no default model")
    shipped = request.getfixturevalue("shipped")
    (shipped / "small-abdomen" / "LICENSE").unlink()
    with pytest.raises(PackageError) as error:
        find_package(None)
    assert_sentence(error, "LICENSE", "missing")


def test_of_two_default_models_none_is_taken_in_silence(shipped, arguments):
    """As where what `pip install .` left in build/ was installed again after an update."""
    write_package(shipped / "older", **dict(arguments, name="older"))
    with pytest.raises(PackageError) as error:
        find_package()
    assert_sentence(error, "older, small-abdomen", "fresh folder")
    assert find_package("older").name == "older"


def test_what_a_killed_import_left_is_no_model(made, store):
    left, going_on = store / ".hlfd.1.part", store / ".hlfd.2.part"
    for folder in (left, going_on):
        shutil.copytree(made / "small-abdomen", folder / "small-abdomen")
    os.utime(left, (0, 0))
    assert list_packages() == []
    import_package(made / "model.zip")
    assert not left.exists() and going_on.exists()


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ".local/share/hlfd/models"),
        ("darwin", "Library/Application Support/hlfd/models"),
        ("win32", "AppData/Local/hlfd/models"),
    ],
)
def test_the_users_folder_is_where_the_platform_keeps_data(tmp_path, monkeypatch, platform, expected):
    monkeypatch.delenv("HLFD_MODELS", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert user_folder() == tmp_path / expected


def test_who_has_no_home_folder_uses_the_models_that_ship(made, monkeypatch):
    """As a service or a job of a cluster."""
    monkeypatch.delenv("HLFD_MODELS", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    shipped = [stored.name for stored in list_packages() if not stored.imported]
    assert find_package().name in shipped
    with pytest.raises(OutputError, match="HLFD_MODELS"):
        import_package(made / "model.zip")


def test_a_model_is_imported_from_the_folder_above(made, store, tmp_path, monkeypatch):
    package = tmp_path / "unpacked"
    shutil.copytree(made / "small-abdomen", package)
    monkeypatch.chdir(package / "docs")
    assert import_package("..").name == "small-abdomen"
    assert [path.name for path in store.iterdir()] == ["small-abdomen"]


def test_a_package_that_cannot_be_read_is_told_with_the_reason(untrained_package, monkeypatch):
    """As of a disk that fails, or a folder on a server that is away."""

    def fails(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(PackageError, match=r"could not be read or copied: Input/output error\. Check"):
        read_package(untrained_package)
