//! The integration tests of tenant-schemas are in `tests/`; this crate has no code of its own.
