# The mirror as a container: `binder-mirror run` as PID 1, as a user of its own. It writes to one volume,
# /data, and nowhere else. How to build and run it: docs/operations.md.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/binder-mirror
COPY requirements.lock requirements-runtime.lock ./
# runtime packages, then those that build the wheel: the locked versions alone, checked by hash
RUN /tools/bin/pip --python /opt/binder-mirror/bin/python install \
      --require-hashes --no-deps --only-binary :all: -r requirements-runtime.lock
RUN for name in hatchling packaging pathspec pluggy trove-classifiers; do \
      sed -n "/^$name==/,/[^\\\\]\$/p" requirements.lock; \
    done > /tools/lock \
    && /tools/bin/pip install --require-hashes --no-deps -r /tools/lock
COPY pyproject.toml README.md LICENSE ./
COPY mirror mirror
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /tools/bin/pip --python /opt/binder-mirror/bin/python install --no-deps --no-index /dist/*.whl

FROM ${BASE}
ARG VERSION=0
LABEL org.opencontainers.image.title="binder-mirror" \
      org.opencontainers.image.description="A verified, byte-faithful mirror of the mybinder.org Events Archive" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}"
# a new volume takes over this owner
RUN install -d -o 10001 -g 10001 /data
COPY --from=build /opt/binder-mirror /opt/binder-mirror
# HOME: the user has none, and podman would set it to the working directory
ENV PATH=/opt/binder-mirror/bin:$PATH \
    HOME=/ \
    BINDER_MIRROR_STORAGE__DATA_DIR=/data \
    BINDER_MIRROR_SERVER__LISTEN=0.0.0.0:8080 \
    BINDER_MIRROR_LOG__FORMAT=json
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# healthy after the first complete poll, which may take hours for the whole archive
HEALTHCHECK --interval=1m --timeout=30s --start-period=2h --retries=3 CMD ["binder-mirror", "health"]
ENTRYPOINT ["binder-mirror"]
CMD ["run"]
