//! QUIC and mutual TLS under the mesh.
