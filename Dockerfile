# bank-server and the `bank` tool in one small image.
#
#   docker build -t bank .
#   docker run --rm -p 127.0.0.1:50051:50051 -v bank:/data -e BANK__AUTH__ALLOW_UNAUTHENTICATED_NETWORK=true bank
#
# BUILD_IMAGE needs Rust and a C compiler; RUNTIME_IMAGE needs glibc and nothing else.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# The manifests with empty sources: enough to build the dependencies.
FROM ${BUILD_IMAGE} AS manifests
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN find crates -type f ! -name Cargo.toml ! -name build.rs ! -path '*/src/lib.rs' ! -path '*/src/main.rs' \
      ! -path '*/src/bin/*/main.rs' -delete \
    && find crates -type d -empty -delete \
    && for program in $(find crates -name '*.rs'); do echo 'fn main() {}' >"$program"; done \
    && find crates -name Cargo.toml -exec sed -i '/^\[\[\(bench\|example\|test\)\]\]/,/^$/d' {} +

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
# This layer is rebuilt only when the dependencies change.
COPY --from=manifests /build ./
RUN cargo build --release --locked --bins -p bank-server -p bank-client --features bank-client/cli

COPY config config
COPY proto proto
COPY crates crates
# The empty sources are newer than the real ones.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bins -p bank-server -p bank-client --features bank-client/cli \
    && mkdir -p /image/data /image/usr/local/bin \
    && cp target/release/bank-server target/release/bank /image/usr/local/bin

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bank-server" \
      org.opencontainers.image.description="A bank over gRPC: accounts, transfers, interest and history" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The user `nonroot` of the runtime image, by number so that Kubernetes can see that it is not root.
COPY --from=build --chown=65532:65532 /image/ /
USER 65532:65532
WORKDIR /
VOLUME /data
# Inside a container, listen on all addresses; the published ports decide who can connect.
ENV BANK__SERVER__LISTEN=0.0.0.0:50051 \
    BANK__ADMIN__LISTEN=0.0.0.0:9464 \
    BANK__STORE__EMBEDDED__PATH=/data/bank.redb
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["bank", "health", "--timeout", "4s"]
ENTRYPOINT ["bank-server"]
