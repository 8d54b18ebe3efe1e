# syntax=docker/dockerfile:1
# One image for `serve`, `worker` and `db upgrade`; see compose.yaml. It holds no secret and no data.

FROM python:3.11-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir build
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY promptcard_ext ./promptcard_ext
COPY server_ext ./server_ext
COPY templates ./templates
COPY notebooks ./notebooks
# The brackets make a pattern, so that the lock is taken when it is there; something else must match, or COPY fails.
COPY pyproject.toml requirements[s]/ci.txt /lock/
RUN python -m build --wheel --outdir /dist
# The lock's versions as constraints, without its hashes: pip would ask for one of the wheel built above.
RUN touch /lock/ci.txt \
 && sed -nE 's/^([A-Za-z0-9_.-]+==[^ ;\\]+)( *;[^\\]*)?.*$/\1\2/p' /lock/ci.txt > /pins.txt \
 && python -m venv /app \
 && /app/bin/pip install --no-cache-dir -c /pins.txt "$(ls /dist/*.whl)[server]" \
 && /app/bin/pip check

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home promptcards \
 && install -d -o promptcards -m 0700 /keys
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PROMPTCARDS_HOME=/home/promptcards/data
USER promptcards
WORKDIR /home/promptcards
EXPOSE 8888
CMD ["jupyter", "promptcards", "serve", "--no-worker", "--port", "8888"]
