"""Published results computed again: the numbers of a paper beside ours.

The config names the study. "uci": classifiers with network kernels on small sets (Arora et al. 2020). "sphere":
learning curves on a sphere (Bordelon et al. 2020).

    python -m experiments.published --config=configs/published_uci.py --workdir=runs/published_uci

In the workdir: config.json, metrics.jsonl, summary.md with the table, and the figures as PNG and PDF. A rerun in the
same workdir resumes.
"""

from pathlib import Path

from ml_collections import ConfigDict

from experiments.common import script
from experiments.published import sphere, sphere_report, uci, uci_report
from ntk.checks import check_choice

STUDIES = {"sphere": (sphere, sphere_report.write_report), "uci": (uci, uci_report.write_report)}


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the study that `config` names, in `workdir`."""
    with script.refuse_bad_input():
        check_choice("study", config.study, tuple(STUDIES))
        study, write_report = STUDIES[config.study]
        study.check_config(config)
        places = study.places(config)
    with script.opened(workdir, config, may_change=("data_dir",)) as (workdir, metrics):
        records = metrics.complete(places, study.place_of, lambda place: study.measure(place, config), "parts")
        print(write_report(workdir, config, list(records.values())))


if __name__ == "__main__":
    script.run(main, "configs/published_uci.py")
