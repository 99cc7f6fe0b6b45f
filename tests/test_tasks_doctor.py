import subprocess
from pathlib import Path

import tasks
from tests.conftest import BIN


def doctor(cwd, **env):
    import os

    return subprocess.run(
        [BIN / "frostbert", "doctor"],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_doctor_says_which_tasks_is_imported(tmp_path):
    done = doctor(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"tasks     {Path(tasks.__file__).parent}" in done.stdout


def test_doctor_shows_the_effective_configuration(tmp_path):
    (tmp_path / "luigi.cfg").write_text(
        "[retcode]\ntask_failed = 77\n[TrainLogReg]\npooling = mean\n"
    )

    out = doctor(tmp_path).stdout

    assert "read: luigi.cfg" in out
    assert "[retcode] task_failed = 77" in out
    assert "[TrainLogReg] pooling = mean" in out
    assert "[core] local_scheduler = true" in out


def test_doctor_says_what_is_here_and_the_ways_without_a_hub(tmp_path):
    out = doctor(
        tmp_path, HF_HUB_CACHE=str(tmp_path / "hub"), HF_ENDPOINT="http://127.0.0.1:9"
    ).stdout

    assert f"cache: {tmp_path / 'hub'}" in out
    assert (
        "default encoder distilbert-base-uncased: not here, fetched when needed" in out
    )
    assert "default data set sst2: not here, fetched when needed" in out
    assert "offline encoder minilm: here" in out
    assert "HF_ENDPOINT = http://127.0.0.1:9" in out
    assert "--dataset sample --encoder minilm" in out
