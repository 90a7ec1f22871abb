//! The first chapter of tenant-schemas.

fn main() {}
