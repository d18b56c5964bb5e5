"""Model: what is decided, how payments have drifted, what labels say, who challenges."""

from __future__ import annotations

from typing import Final

from grafana import panels as p
from grafana import queries as q
from grafana import settings
from grafana.dashboard import APPLICATION, CLUSTER, VERSION, Dashboard, Row
from grafana.promql import by, rate

_JUDGED: Final = "{{role}}, version {{model_version}}"
_WHOSE: Final = "model_version, role"
_DRIFT_STEPS: Final = ((None, p.GREEN), (0.1, p.ORANGE), (settings.DRIFTED, p.RED))
DECISIONS: Final = Row(
    "Decisions",
    8,
    (
        (8, p.timeseries(
            "Alert rate, and what is expected", "Share of payments that the champion decides as "
            "fraud. The limits are three times and a third of its share in validation.",
            [p.Target(f"max({q.ALERT_RATE})", "now"),
             p.Target(f"max({q.EXPECTED_ALERT_RATE})", "expected"),
             p.Target(f"max({q.EXPECTED_ALERT_RATE}) * {settings.ALERT_RATE_FACTOR}", "too high"),
             p.Target(f"max({q.EXPECTED_ALERT_RATE}) / {settings.ALERT_RATE_FACTOR}", "too low")],
            unit=p.PERCENT, links=[p.runbook("FraudrayAlertRateJump")],
        )),
        (8, p.timeseries(
            "Alert rate by version", "Champion and, where it answers a share of the requests, "
            "challenger.",
            [p.Target(f"{by('model_version, role', rate(q.VERSION_ALERTS))}"
                    f" / {by('model_version, role', rate(q.DECISIONS))}",
                    "version {{model_version}}, {{role}}")],
            unit=p.PERCENT, links=[p.runbook("FraudrayAlertRateJump")],
        )),
        (8, p.timeseries(
            "Payments decided", "By version and decision; 1 is fraud.",
            [p.Target(by("model_version, role, decision", rate(q.DECISIONS)),
                    "version {{model_version}}, {{role}}: {{decision}}")],
            unit=p.PER_SECOND, stacked=True,
        )),
        (8, p.heatmap(
            "Scores", "How many payments got which probability. A bad version shows as a band "
            "that moves; a healthy one is dark at the bottom.",
            p.Target(by("le", rate(q.SCORES_BY)), "{{le}}"), unit=p.PERCENT,
            links=[p.runbook("FraudrayScoreDrift")],
        )),
        (8, p.timeseries(
            "Promotions", "Within 15 minutes: versions that took over, and versions that failed "
            "their test and did not.",
            [p.Target(q.PROMOTIONS, "promoted"), p.Target(q.FAILED_LOADS, "failed: {{stage}}")],
            unit=p.COUNT, links=[p.runbook("FraudrayPromotionFailed")],
        )),
        (8, p.state_timeline(
            "Champion and challenger", "The version in service, and the one that challenges it.",
            [p.Target(f"max({q.CHAMPION})", "champion"),
             p.Target(f"max({q.CHALLENGER})", "challenger")],
            steps=((None, p.BLUE),), names={"0": ("none", p.ORANGE)},
        )),
    ),
)  # fmt: skip
DRIFT: Final = Row(
    "Drift of the payments, beside those the champion learned from",
    9,
    (
        (8, p.bargauge(
            "Drift by field", "PSI over the last hour; over a day for fields that follow the time "
            "of day; 0 where chance does as much. From 0.25 on a field is distributed otherwise.",
            p.Target(f"sort_desc({by('feature', q.FEATURE_DRIFT, 'max')})", "{{feature}}"),
            steps=_DRIFT_STEPS, links=[p.runbook("FraudrayFeatureDrift")],
        )),
        (8, p.timeseries(
            "Drift over time", "PSI of the fields and of the scores beyond chance. A step at one "
            "moment is a change upstream, a slope a change of the customers.",
            [p.Target(by("feature", q.FEATURE_DRIFT, "max"), "{{feature}}"),
             p.Target(f"max({q.SCORE_DRIFT})", "score")],
            steps=((None, p.GREEN), (settings.DRIFTED, p.RED)), unit=p.NUMBER,
            links=[p.runbook("FraudrayFeatureDrift"), p.runbook("FraudrayScoreDrift")],
        )),
        (8, p.table(
            "What chance does, and what is missing", "PSI beside what chance alone hardly exceeds "
            "in as few payments; share of the last ten minutes without a value, or with an unknown "
            "one, beside what is expected.",
            [p.Target(by("feature", q.FEATURE_PSI, "max")),
             p.Target(by("feature", q.FEATURE_CHANCE, "max")),
             *(p.Target(by("feature", expression, "max")) for kind in ("missing", "unknown")
               for expression in (q.odd_share(kind), q.odd_expected(kind)))],
            {"feature": "Field", "Value #A": "PSI", "Value #B": "by chance",
             "Value #C": "missing", "Value #D": "missing, expected",
             "Value #E": "unknown", "Value #F": "unknown, expected"},
            decimals=3, nothing="no payments", links=[p.runbook("FraudrayFieldBroken")],
        )),
        (6, p.stat(
            "Score drift", "PSI of the champion's scores over the last hour; 0 where chance does "
            "as much.",
            p.Target(f"max({q.SCORE_DRIFT})"), decimals=3, steps=_DRIFT_STEPS,
            links=[p.runbook("FraudrayScoreDrift")],
        )),
        (6, p.stat(
            "Payments compared", "Payments of the last hour. Few of them tell little.",
            p.Target(f"max({q.DRIFT_PAYMENTS})"), unit=p.COUNT, steps=((None, p.BLUE),),
        )),
        (12, p.timeseries(
            "Fields that arrive broken", "Share of payments without a value, or with one the model "
            "has not seen.",
            [p.Target(by("feature", q.odd_share(kind), "max"), f"{{{{feature}}}} {kind}")
             for kind in ("missing", "unknown")],
            unit=p.PERCENT, links=[p.runbook("FraudrayFieldBroken")],
        )),
    ),
)  # fmt: skip
FEEDBACK: Final = Row(
    "Feedback: labels of the last 30 days",
    8,
    (
        (6, p.timeseries(
            "Precision", "Share of alerts that turned out to be fraud, of those that have a label.",
            [p.Target(q.LIVE_PRECISION, _JUDGED)], unit=p.PERCENT, maximum=1,
            links=[p.runbook("FraudrayFeedbackPrecision")],
        )),
        (6, p.timeseries(
            "Recall", "Share of labelled frauds that were alerted on. Frauds nobody labels are "
            "not seen.",
            [p.Target(q.LIVE_RECALL, _JUDGED)], unit=p.PERCENT, maximum=1,
            links=[p.runbook("FraudrayFeedbackPrecision")],
        )),
        (6, p.timeseries(
            "Labels received", "By label; 1 is fraud.",
            [p.Target(by("label", rate(q.LABELS)), "{{label}}")], unit="cps", stacked=True,
        )),
        (6, p.table(
            "Labelled payments", "How many decisions of a version have a label, how many of its "
            "alerts, and how long after the decision labels came. Below "
            f"{settings.FEWEST_LABELS} labelled alerts precision alerts nobody.",
            [p.Target(by(_WHOSE, q.LABELLED, "max")),
             p.Target(by(_WHOSE, q.LABELLED_ALERTS, "max")),
             p.Target(by(_WHOSE, q.LABEL_DELAY, "max") + " / 86400")],
            {"model_version": "Version", "role": "Role", "Value #A": "Labelled",
             "Value #B": "Alerts", "Value #C": "Delay, days"},
            decimals=1, nothing="no labels",
        )),
    ),
)  # fmt: skip
_PAIR: Final = "champion, challenger"
SHADOW: Final = Row(
    "Champion against challenger, on the same payments",
    8,
    (
        (8, p.timeseries(
            "Decided otherwise", "Share of payments on which the challenger in the shadow would "
            "have decided otherwise.",
            [p.Target(f"{by(_PAIR, rate(q.DISAGREED))} / {by(_PAIR, rate(q.SHADOWED))}",
                    "{{champion}} against {{challenger}}")],
            unit=p.PERCENT,
        )),
        (8, p.timeseries(
            "Mean difference of probabilities", "Without its sign.",
            [p.Target(f"{by(_PAIR, rate(q.APART))} / {by(_PAIR, rate(q.SHADOWED))}",
                    "{{champion}} against {{challenger}}")],
            unit=p.NUMBER,
        )),
        (8, p.timeseries(
            "Payments scored in the shadow", "And those there was no time for, which say nothing "
            "of the challenger but of the load.",
            [p.Target(by(_PAIR, rate(q.SHADOWED)), "{{champion}} against {{challenger}}"),
             p.Target(by("", rate(q.SHADOW_DROPPED)), "left out")],
            unit=p.PER_SECOND,
        )),
    ),
)  # fmt: skip
MODEL: Final = Dashboard(
    "model",
    "Model",
    "What is decided, how payments have drifted, what labels say, who challenges.",
    (DECISIONS, DRIFT, FEEDBACK, SHADOW),
    (CLUSTER, APPLICATION, VERSION),
    since="now-24h",
)
