"""Records as tables in Markdown, for people."""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from claims import FAMILY, Claim
from ostinato.lab.reproduce.description import Reproduction
from ostinato.lab.reproduce.page import beside
from record import Results

Cases = Mapping[str, Results]


def full(cases: Cases) -> str:
    """Every case with all that was measured."""
    lines = ["| case | what | figure | claim | |", "| --- | --- | --- | --- | --- |"]
    for name, each in cases.items():
        more = [f"{key.replace('_', ' ')} {shown(each[key])}" for key in DETAILS if key in each]
        figures = (
            [figure(one) for one in each["beside"].values()] if "beside" in each else [plain(each)]
        )
        lines.append(
            f"| `{name}` | {'; '.join([each['case'], *more])} | {'; '.join(figures)} "
            f"| {each['claim']} | {'' if each['met'] else 'not met'} |"
        )
    return "\n".join(lines)


DETAILS = (
    *("rows", "ms", "step_us", "slicing_ratio", "peak_MB", "time_ratio", "again_s"),
    *("share_of_machine", "not_there"),
)
"""What else a case may have measured."""


def plain(each: Results) -> str:
    """The one figure of a case, and its spread."""
    name = each["claim"].split()[0]
    value = f"{each[name]:.3g} s" if name.endswith("_s") else f"{each[name]:.2f}"
    return value + spread(each)


def figure(one: Results) -> str:
    """Of a case that has several: beside whom, how much, and its spread."""
    return "not there" if one["ratio"] is None else f"{one['peer']} {one['ratio']:.2f}{spread(one)}"


def spread(each: Results) -> str:
    quartiles = each.get("ratio_quartiles")
    return "" if quartiles is None else " [{:.2f}, {:.2f}]".format(*quartiles)


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(value) if isinstance(value, list) else f"{value:.3g}"


KINDS = {
    "recipe": "speed of a recipe's training step; a loop by hand is 1",
    "long": "the same, 784 steps of one number",
    "linear": "time of a step at T=1600; at T=100 it is 1",
    "ragged": "time with lengths of 50 to 200; without them, at full length, it is 1",
    "memory": "memory of 4,000 steps walked once more; of all kept it is 1",
    "trace": "seconds to make a cell's program and its backward program",
}
"""What the figures of each kind of case say, of those about plain torch's row."""


def of_plain_torch(cases: Cases) -> str:
    """For the README: a row for each kind of case, what is not as claimed set off."""
    lines = ["| what is measured | claimed | found |", "| --- | --- | --- |"]
    for kind, said in KINDS.items():
        found, claims = [], set()
        for name, each in cases.items():
            if name.startswith(f"{kind}/"):
                figure, sign, limit = each["claim"].split()
                value = f"{each[figure]:.3f}" if figure.endswith("_s") else f"{each[figure]:.2f}"
                found.append(f"`{name.split('/')[1]}` {value if each['met'] else f'*{value}*'}")
                claims.add(f"{sign} {limit}")
        if found:
            lines.append(f"| {said} | {', '.join(sorted(claims))} | {', '.join(found)} |")
    return "\n".join(lines)


def of_peers(cases: Cases) -> str:
    """For the README: a row for each claim, what is not as claimed set off; families in one row."""
    lines = [
        "| case | what | beside | claimed | hoped for | found | share of the machine |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    family = {name: each for name, each in cases.items() if name.startswith("torchrecurrent/")}
    for name, each in cases.items():
        if name in family:
            continue
        share = each.get("share_of_machine", {}).get("ours")
        last = "" if share is None else f"{share:.0%}"
        titles = [f"`{name}`", each["case"], last]
        for peer, one in each["beside"].items():
            claim = Claim(peer, one["sign"], one["at_least"], one["aim"])
            lines.append(row(titles, claim, one["ratio"], one["met"]))
            titles = ["", "", ""]
    lines += of_family(family)
    return "\n".join(lines)


def of_family(cases: Cases) -> list[str]:
    """Median and worst of all cells of torchrecurrent."""
    ratios = {name.split("/")[1]: each["beside"]["its layer"]["ratio"] for name, each in cases.items()}
    if not ratios:
        return []
    middle, worst = median(ratios.values()), min(ratios, key=lambda name: ratios[name])
    what = f"training step, 2×128, B=128, T=28, {len(ratios)} cells: the median"
    none_under = Claim("its layer", "≥", 1.0)
    shares = [each["share_of_machine"]["ours"] for each in cases.values() if "share_of_machine" in each]
    share = f"{median(shares):.0%}" if shares else ""
    return [
        row(["`torchrecurrent/*`", what, share], FAMILY, middle, FAMILY.met(middle)),
        row(["", f"the worst, {worst}", ""], none_under, ratios[worst], none_under.met(ratios[worst])),
    ]


def row(titles: list[str], claim: Claim, ratio: float | None, met: bool | None) -> str:
    name, what, share = titles
    found = "not there" if ratio is None else f"{ratio:.2f}" if met else f"*{ratio:.2f}*"
    aim = "" if claim.aim is None else f"{claim.aim:g}"
    limit = f"{claim.sign} {claim.limit:g}"
    return f"| {name} | {what} | {claim.figure} | {limit} | {aim} | {found} | {share} |"


PHASES = ("walk", "walk backwards", "gradients of weights", "packing", "the rest")


def of_phases(cases: Cases) -> str:
    """A row a case: the share of each phase, and how near its products come to the machine's best."""
    lines = [
        f"| case | ms | {' | '.join(PHASES)} | GB/s |",
        "| --- | --- |" + " --- |" * (len(PHASES) + 1),
    ]
    for name, each in cases.items():
        whole = each["ms"]["all"]
        shares = []
        for phase in PHASES:
            share = f"{each['ms'].get(phase, 0) / whole:.0%}"
            of_machine = each["share_of_machine"].get(phase)
            shares.append(share if of_machine is None else f"{share} at {of_machine:.0%}")
        rates = ", ".join(f"{rate:g}" for rate in each["GB_per_s"].values())
        lines.append(f"| `{name}` | {whole:.4g} | {' | '.join(shares)} | {rates} |")
    return "\n".join(lines)


def of_reproduction(found: Reproduction) -> str:
    """A row for each figure of the tutorials that was made again."""
    lines = ["| tutorial | figure | published | ours | |", "| --- | --- | --- | --- | --- |"]
    for tutorial in found.chosen():
        name = f"{tutorial.number}. {tutorial.title}"
        for row in beside(tutorial, found).rows:
            what, published, ours, spread = ("–" if each is None else str(each) for each in row)
            if ours != "–":
                lines.append(f"| {name} | {what} | {published} | {ours} | {spread} |")
                name = ""
    return "\n".join(lines)


BRIEF: dict[str, Callable[[Cases], str]] = {
    "speed": of_plain_torch,
    "peers": of_peers,
    "phases": of_phases,
}
"""Each table for the pages."""
