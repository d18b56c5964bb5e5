"""The command that watches what runs."""

from __future__ import annotations

import click

from fraudray.commands.options import PORT, option


@click.command()
@option("--prometheus", metavar="PATH", help="The program. Default: the one on the path.")
@option("--port", default=9090, type=PORT, help="Port of Prometheus.")
@option("--alertmanager-port", default=9093, type=PORT, help="Port of Alertmanager.")
@option("--grafana-port", default=3000, type=PORT, help="Port of Grafana.")
@option("--interval", default=15, type=click.IntRange(1), metavar="SECONDS",
        help="Between two looks at every target.")  # fmt: skip
def monitoring(
    prometheus: str | None, port: int, alertmanager_port: int, grafana_port: int, interval: int
) -> None:
    """Watch what runs on this machine: Prometheus with the alert rules, dashboards in Grafana.

    Finds the graph, its proxy, the page and sweeps with --metrics in the same FRAUDRAY_HOME,
    whichever is started first, until Ctrl-C. Grafana and Alertmanager run where they are installed.

    \b
    In two terminals:
      make demo
      make monitoring
    """
    from fraudray.monitoring import Monitoring, Ports

    ports = Ports(prometheus=port, alertmanager=alertmanager_port, grafana=grafana_port)
    Monitoring(prometheus, ports, interval).run()
