//! Migrations and templates are embedded: a new file has to be noticed.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
