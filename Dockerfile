# docker build -t handletime .
# docker run -p 8080:8080 -v handletime:/data handletime

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/handletime
ENV PATH=/opt/handletime/bin:$PATH
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
# What builds the wheel is pinned too, and does not come along.
RUN python -m venv with && with/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN with/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && pip install --no-cache-dir --no-index --no-deps dist/*.whl
# Compiles the derivation, so that no start has to. On another processor than this one, the first start
# compiles anew.
ENV HANDLETIME_CACHE_DIR=/opt/handletime/cache
RUN python -m handletime.cli.warming

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin handletime \
    && install -d -o handletime -g handletime -m 0700 /data
COPY --from=build --chown=handletime:handletime /opt/handletime /opt/handletime
ENV PATH=/opt/handletime/bin:$PATH \
    HANDLETIME_CACHE_DIR=/opt/handletime/cache \
    HANDLETIME_DATA=/data \
    HANDLETIME_HOST=0.0.0.0 \
    HANDLETIME_PORT=8080 \
    PYTHONUNBUFFERED=1
# As a number, so that Kubernetes sees that it is not root.
USER 10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, ssl, urllib.request as u; get = os.environ.get; u.urlopen(('https' if get('HANDLETIME_TLS_CERT') else 'http') + '://127.0.0.1:' + (get('HANDLETIME_PORT') or '8080') + '/healthz', timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["handletime"]
CMD ["serve"]
