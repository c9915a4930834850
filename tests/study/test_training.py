"""What a training lacks: its commands, and when nothing is left of them."""

from __future__ import annotations

from dataclasses import replace

from study.conftest import Writer, decode, finish

from zipformer.config.command_line import load_config
from zipformer.study.description import Study
from zipformer.study.reading import read_study
from zipformer.study.training import Training, trainings_of


def test_the_printed_command_trains_what_the_study_says(study: Study) -> None:
    training = trainings_of(study)[1]
    verb, toml, *words = training.train_words()
    assert verb == "train" and load_config(toml, words) == training.config


def test_what_is_trained_and_decoded_is_not_done_again(study: Study) -> None:
    training = trainings_of(study)[0]
    assert not training.is_trained and len(training.decode_words()) == 1
    finish(training)
    assert training.is_trained
    decode(training, 10, ("full", "32/128/0"))
    (words,) = training.decode_words()
    assert words[:2] == ["decode", str(training.folder)]
    assert words[words.index("--contexts") + 1] == "32/128/64"
    assert words[words.index("--epoch") + 1] == "2"
    decode(training, 10)
    assert training.decode_words() == []
    assert [r.context for r in training.results()] == ["full", "32/128/0", "32/128/64"]


def test_results_of_other_weights_do_not_count(study: Study) -> None:
    training = trainings_of(study)[0]
    finish(training)
    decode(training, 10)
    for other in (replace(study.decode, epoch=1), replace(study.decode, epoch="auto")):
        of_others = Training(replace(study, decode=other), training.run, training.seed)
        assert of_others.results() == [] and len(of_others.decode_words()) == 1


def test_each_search_is_a_command_of_its_own(write_study: Writer) -> None:
    path = write_study(
        ("[show]", 'searches = ["greedy", "modified_beam_search-beam8"]\n[show]'),
    )
    training = trainings_of(read_study(path))[0]
    finish(training)
    decode(training, 10)
    (words,) = training.decode_words()
    assert words[-2:] == ["--method", "modified_beam_search-beam8"]


def test_a_run_that_is_limited_by_steps_is_decoded_there(write_study: Writer) -> None:
    path = write_study(('"context.right" = [0]', '"context.right" = [0], "train.max_steps" = 7'))
    training = trainings_of(read_study(path))[1]
    training.folder.mkdir(parents=True)
    (training.folder / "checkpoint-6.pt").touch()
    assert not training.is_trained
    (training.folder / "checkpoint-7.pt").touch()
    assert training.is_trained
    (words,) = training.decode_words()
    assert words[2:6] == ["--iter", "7", "--avg", "1"]
