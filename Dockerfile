# The image: one static binary and nothing else.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/eks-pod-identity-webhook .
#
# Each platform is compiled by a builder of its own architecture (native, or slowly by QEMU), so nothing here knows of
# targets. Any image with Rust, a C compiler and readelf will do as BUILDER; on Alpine musl is linked in.
ARG BUILDER=docker.io/library/rust:1.95-alpine

FROM ${BUILDER} AS builder
WORKDIR /src

# Whatever libc the builder has, it is linked in. Build scripts and procedural macros must not be: `--target` tells them apart.
ENV RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_TARGET_DIR=/target

# Alpine has the kernel's headers, which the C code of aws-lc and mimalloc includes, in a package of their own. Its version is
# that of the base image.
# hadolint ignore=DL3018
RUN if command -v apk; then apk add --no-cache linux-headers; fi

# The dependencies alone, so that this layer is kept until Cargo.lock changes. Benchmarks are declared in the manifest, and
# Cargo would look for them.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[bench\]\]/,/^$/d' Cargo.toml \
    && mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --target "$(rustc --print host-tuple)"

# Cargo goes by modification times, and those of a checkout may be older than the layer above.
COPY src src
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --target "$(rustc --print host-tuple)" \
    && mkdir /image \
    && cp "/target/$(rustc --print host-tuple)/release/eks-pod-identity-webhook" /image/ \
    && ln -s eks-pod-identity-webhook /image/webhook \
    && readelf --program-headers /image/eks-pod-identity-webhook > /tmp/headers \
    && if grep INTERP /tmp/headers; then echo 'the binary is not static' >&2; exit 1; fi

# No certificates: the API server's authority comes with the pod's ServiceAccount, and a kubeconfig has to name it; only
# `oidc verify` needs others, by --ca-file. No /etc/passwd: the user is a number. No /tmp and no time zones: nothing is
# written, and times are UTC.
FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="eks-pod-identity-webhook" \
      org.opencontainers.image.description="Lets pods on any Kubernetes cluster assume AWS IAM roles" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# And /webhook, by which manifests for the AWS webhook call it: docs/migrating.md.
COPY --from=builder /image/ /
USER 65532:65532
EXPOSE 8443 9090
ENTRYPOINT ["/eks-pod-identity-webhook"]
