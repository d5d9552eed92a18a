"""LayerTap: named layers are read and differentiated through, and the network stays as it was."""

import pytest
import torch
from HLFDSegmentationLib.errors import NetworkError
from HLFDSegmentationLib.layers import LAYERS, LayerTap
from HLFDSegmentationLib.networks import NETWORKS, build_network


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network("mobilenetv2-unet", 3).eval()


@pytest.fixture
def images():
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def hooks(network):
    return [hook for module in network.modules() for hook in module._forward_hooks.values()]


def test_the_nine_layers_in_the_order_of_the_data():
    names = "encoder1 encoder2 encoder3 encoder4 encoder5 decoder5 decoder4 decoder3 decoder2"
    assert list(LAYERS) == names.split()


@torch.no_grad()
def test_all_layers_are_kept_by_name(network, images):
    with LayerTap(network) as tap:
        network(images)
        assert set(tap.outputs) == set(LAYERS)
        assert tap.outputs["encoder1"].shape == (2, 16, 32, 32)
        assert tap.outputs["decoder2"].shape == (2, 48, 32, 32)


@torch.no_grad()
def test_only_the_layers_asked_for_are_hooked(network, images):
    with LayerTap(network, ["encoder5", "decoder3"]) as tap:
        assert len(hooks(network)) == 2
        network(images)
        assert set(tap.outputs) == {"encoder5", "decoder3"}


@torch.no_grad()
def test_the_last_forward_pass_counts(network, images):
    with LayerTap(network, ["encoder2"]) as tap:
        network(images)
        network(images[:1] * 0.5)
        last = tap.outputs["encoder2"]
        network(images)
        assert last.shape[0] == 1
        assert tap.outputs["encoder2"].shape[0] == 2


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_kept_is_what_the_layer_gave(name):
    """A later operation in place would change a kept output behind the reader's back."""
    torch.manual_seed(0)
    network = build_network(name, 2).eval()
    given = {}
    with LayerTap(network) as tap:
        for layer, path in network.layers.items():
            network.get_submodule(path).register_forward_hook(
                lambda _module, _inputs, output, layer=layer: given.setdefault(layer, []).append(output.clone())
            )
        network(torch.rand(1, 1, 32, 32))
        for layer in LAYERS:
            assert len(given[layer]) == 1, f"{layer} is called more than once"
            assert torch.equal(tap.outputs[layer], given[layer][0])


@torch.no_grad()
def test_the_network_computes_the_same_with_and_after_a_tap(network, images):
    before = network(images)
    keys = list(network.state_dict())
    with LayerTap(network):
        assert torch.equal(network(images), before)
        assert list(network.state_dict()) == keys
    assert torch.equal(network(images), before)


@torch.no_grad()
def test_after_closing_nothing_is_left(network, images):
    tap = LayerTap(network)
    network(images)
    tap.close()
    assert tap.outputs == {}
    assert hooks(network) == []
    network(images)
    assert tap.outputs == {}


def test_an_error_inside_the_block_closes_the_tap(network):
    with pytest.raises(ZeroDivisionError), LayerTap(network):
        raise ZeroDivisionError
    assert hooks(network) == []


@torch.no_grad()
def test_two_taps_do_not_disturb_each_other(network, images):
    with LayerTap(network, ["encoder1"]) as outer:
        with LayerTap(network, ["encoder1"]):
            network(images)
        network(images[:1])
        assert outer.outputs["encoder1"].shape[0] == 1


def test_an_unknown_layer_is_answered_with_the_known_ones(network):
    with pytest.raises(NetworkError, match=r"no layer 'decoder1'.*encoder1, .*, decoder2"):
        LayerTap(network, ["encoder1", "decoder1"])
    assert hooks(network) == []


def test_gradients_flow_through_the_kept_outputs(network, images):
    """The gradient of a score at every layer, in one backward pass; at the last layer it is that of the head alone."""
    with LayerTap(network) as tap:
        score = network(images)[:, 1].square().sum()
        gradients = dict(zip(LAYERS, torch.autograd.grad(score, [tap.outputs[layer] for layer in LAYERS])))
        features = tap.outputs["decoder2"].detach().requires_grad_()
    for layer in LAYERS:
        assert gradients[layer].any(), layer
    (expected,) = torch.autograd.grad(network.body.head(features)[:, 1].square().sum(), features)
    torch.testing.assert_close(gradients["decoder2"], expected)


def test_a_loss_on_a_kept_output_trains_what_lies_before_it(images):
    torch.manual_seed(0)
    network = build_network("mobilenetv2-unet", 3)
    with LayerTap(network, ["encoder3"]) as tap:
        network(images)
        tap.outputs["encoder3"].square().sum().backward()
    stages = [any(parameter.grad is not None for parameter in stage.parameters()) for stage in network.body.encoder]
    assert stages == [True, True, True, False, False]
