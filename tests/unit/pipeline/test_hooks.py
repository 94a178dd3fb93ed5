import logging
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from lightmill.errors import DataError, HookError
from lightmill.models import RateIntsModel, RateModel
from lightmill.pipeline import hooks
from lightmill.pipeline.step import Products


def rate(value=1.0):
    return RateModel(
        data=np.full((4, 5), value, np.float32), meta={"filename": "jw001_nrs1_uncal.fits"}
    )


def rateints():
    return RateIntsModel(data=np.ones((2, 4, 5), np.float32))


def step(**options):
    return SimpleNamespace(name="jump", options=options, origins={"post_hooks": "command line"})


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "user_hooks_example.py").write_text(
        textwrap.dedent(
            """
            def double(model):
                return model.evolve(data=model.data * 2)

            def look(model):
                pass

            class Holder:
                @staticmethod
                def triple(model):
                    return model.evolve(data=model.data * 3)
            """
        )
    )
    (tmp_path / "user_hooks_broken.py").write_text("import a_module_that_does_not_exist\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("user_hooks_example", "user_hooks_broken"):
        sys.modules.pop(name, None)


def test_a_function_may_replace_the_model_or_leave_it():
    model = rate()

    replaced = hooks.call(lambda m: m.evolve(data=m.data + 1), model)
    kept = hooks.call(lambda _: None, model)

    assert replaced.data[0, 0] == 2
    assert kept is model
    assert model.data[0, 0] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_hooks_example:double", 2),
        ("user_hooks_example.double", 2),
        ("user_hooks_example:Holder.triple", 3),
        ("user_hooks_example.Holder.triple", 3),
        ("user_hooks_example:look", 1),
    ],
)
@pytest.mark.usefixtures("user_module")
def test_a_function_can_be_named(name, value):
    assert hooks.call(name, rate()).data[0, 0] == value


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("user_hooks_example:duoble", "did you mean 'double'?"),
        ("user_hooks_exampel:double", "did you mean 'user_hooks_example'?"),
        ("user_hooks_exampel.double", "did you mean 'user_hooks_example'?"),
        ("lightmill.pipelin:x", "did you mean 'pipeline'?"),
    ],
)
@pytest.mark.usefixtures("user_module")
def test_a_misspelled_name_is_an_error_and_nothing_runs(name, remedy):
    with pytest.raises(HookError) as caught:
        hooks.call(name, rate(), trusted=True)

    assert caught.value.remedy == remedy


@pytest.mark.usefixtures("user_module")
def test_a_module_that_fails_to_import_says_what_it_misses():
    with pytest.raises(HookError, match="a_module_that_does_not_exist"):
        hooks.call("user_hooks_broken:x", rate())


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("!ls", True),
        ("ls {0}", True),
        ("./look.sh", True),
        ("/usr/bin/ls", True),
        ("ls", True),
        ("package.module:function", False),
        ("package.module.function", False),
        ("package.Class(limit=3, name='a b')", False),
        ("a_word_that_is_no_program", False),
    ],
)
def test_what_counts_as_a_command(text, command):
    assert hooks.is_command(text) is command


def test_a_command_that_came_with_data_is_refused(tmp_path):
    proof = tmp_path / "proof"
    carrier = SimpleNamespace(
        name="jump", options={}, origins={"post_hooks": "reference pars-jump.asdf"}
    )

    with pytest.raises(HookError, match="did not come from you"):
        hooks.call(f"!touch {proof}", rate(), step=carrier)

    assert not proof.exists()


def test_a_command_gets_a_file_named_like_a_product_which_is_removed(tmp_path):
    seen = tmp_path / "seen"

    result = hooks.call(f"echo {{0}} {{step}} '{{x}}' > {seen}", rate(), step=step())

    path, name, other = seen.read_text().split()
    assert path.endswith(("/0/jw001_nrs1_uncal_jump.fits", "/0/jw001_nrs1_jump.fits"))
    assert (name, other) == ("jump", "{x}")
    assert not (tmp_path / path).exists()
    assert result.data[0, 0] == 1


def test_a_command_can_hand_back_data():
    program = (
        "import sys; from lightmill.models import open; m = open(sys.argv[1]);"
        "m.evolve(data=m.data + 41).save(sys.argv[2])"
    )

    model = hooks.call(f'{sys.executable} -c "{program}" {{input}} {{output}}', rate(), step=step())

    assert (model.data == 42).all()
    assert model.meta.filename


def test_what_a_command_hands_back_outlives_its_file(tmp_path):
    # astropy leaves the ASDF extension as it is, and the new extension is known to no schema
    program = (
        "import sys; from astropy.io import fits; f = fits.open(sys.argv[1]);"
        "f.append(fits.ImageHDU([[7.0]], name='MINE')); f.writeto(sys.argv[2])"
    )

    model = hooks.call(f'{sys.executable} -c "{program}" {{input}} {{output}}', rate(), step=step())

    assert model.meta.get("subarray.name") is None  # asked of the ASDF tree
    with fits.open(model.save(tmp_path / "kept.fits")) as file:
        assert file["MINE"].data.tolist() == [[7.0]]


def test_one_model_takes_the_place_of_the_product_of_its_class():
    products = Products({"rate": rate(), "rateints": rateints()})

    result = hooks.call(lambda both: both["rate"].evolve(data=both["rate"].data + 1), products)

    assert list(result) == ["rate", "rateints"]
    assert (result["rate"].data == products["rate"].data + 1).all()
    assert result["rateints"] is products["rateints"]


def test_lines_of_a_command_are_logged_as_they_come(caplog):
    caplog.set_level(logging.INFO, "lightmill")

    hooks.call("for i in 1 2 3; do echo line $i; done; echo oops >&2", rate(), step=step())

    assert [m for m in caplog.messages if "line" in m or "oops" in m][-4:] == [
        "line 1",
        "line 2",
        "line 3",
        "oops",
    ]


def test_much_output_does_not_block(caplog):
    caplog.set_level(logging.WARNING, "lightmill")

    hooks.call("head -c 300000 /dev/zero | tr '\\0' '\\n'", rate(), step=step())


def test_a_failing_command_is_an_error_with_its_last_line():
    with pytest.raises(HookError, match="exit status 3") as caught:
        hooks.call("echo disk is full; exit 3", rate(), step=step())

    assert "disk is full" in str(caught.value)
    assert caught.value.place == "jump.post_hooks"


def test_a_command_that_takes_too_long_is_ended_with_what_it_started():
    with pytest.raises(HookError, match="too long"):
        hooks.call("sleep 60 | cat", rate(), step=step(hook_timeout=0.2))


def test_an_error_in_a_function_names_hook_and_place():
    def spoil(_):
        raise KeyError("FILTER")

    with pytest.raises(HookError, match="spoil failed") as caught:
        hooks.call(spoil, rate(), step=step())

    assert "KeyError" in caught.value.found


def test_our_errors_pass_through_a_hook():
    def refuse(_):
        raise DataError("too bright")

    with pytest.raises(DataError, match="too bright"):
        hooks.call(refuse, rate())


def test_a_hook_that_returns_nonsense_is_an_error():
    with pytest.raises(HookError, match="not a model"):
        hooks.call(lambda _: 3, rate())


def test_a_hook_may_ask_for_its_context():
    seen = []

    hooks.call(lambda _, context: seen.append(context.place), rate(), step=step())

    assert seen == ["jump.post_hooks"]


def test_an_error_hook_gets_the_error_and_cannot_replace_anything():
    seen = []
    error = DataError("no light")

    result = hooks.call(seen.append, error, step=step(), kind="on_error")

    assert seen == [error]
    assert result is error


def test_the_description_of_a_hook_follows_its_code():
    one = hooks.describe(lambda m: m)
    two = hooks.describe(lambda _: None)

    assert one != two
    assert "0x" not in one
    assert hooks.describe("!ls") == "!ls"
    assert hooks.describe(np.sum).endswith("sum")


@pytest.mark.parametrize("template", ["cat {error}", 'cat "{error}"', "cat '{error}'"])
def test_no_text_from_data_is_read_as_a_command(tmp_path, template):
    proof = tmp_path / "proof"
    evil = f"""$(touch {proof}) `touch {proof}` "; touch {proof}; '; touch {proof} #"""
    template = template.replace("cat", "printf %s", 1) + f" > {tmp_path / 'said'}"

    hooks.call(template, DataError(evil), step=step(), kind="on_error", trusted=True)

    assert not proof.exists()
    assert "touch" in (tmp_path / "said").read_text()


def test_a_file_named_like_a_command_is_only_a_file(tmp_path):
    proof = tmp_path / "proof"
    model = rate().evolve(meta={"filename": f"$(touch {proof}).fits"})

    hooks.call('sh -c "test -f {0}"', model, step=step())

    assert not proof.exists()


def test_the_description_of_a_function_follows_what_it_holds():
    def made(limit):
        return lambda model: model if limit else None

    assert hooks.describe(made(1)) == hooks.describe(made(1))
    assert hooks.describe(made(1)) != hooks.describe(made(2))
