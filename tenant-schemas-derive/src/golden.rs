//! One whole expansion of each macro, compared with a file in `golden/`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tenant-schemas-derive` writes the files anew.

use std::env;
use std::fs;
use std::path::Path;

use proc_macro2::TokenStream;
use quote::quote;

use crate::app::{self, Scope};
use crate::model::Derive;
use crate::row;

#[track_caller]
fn expands_to(file: &str, tokens: TokenStream) {
    let parsed = syn::parse2(tokens).expect("the expansion is Rust");
    let expanded = prettyplease::unparse(&parsed);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expanded).expect("the file can be written");
    }
    let golden = fs::read_to_string(&path).expect("the file is there");
    assert!(
        expanded == golden,
        "{file} is out of date, the expansion is now:\n{expanded}"
    );
}

#[test]
fn tenant_model() {
    let item = quote! {
        #[diesel(table_name = clients)]
        #[tenant(auto_drop_schema = true)]
        pub struct Client {
            pub id: i32,
            pub schema_name: SchemaName,
            pub domain_url: String,
            /// The name on the invoice.
            pub name: String,
            pub paid_until: Option<NaiveDate>,
            #[tenant(default = true)]
            pub on_trial: bool,
            #[tenant(generated)]
            pub created_at: DateTime<Utc>,
        }
    };
    expands_to("tenant_model.rs", row::expand(Derive::Tenant, item));
}

#[test]
fn domain_model() {
    let item = quote! {
        #[diesel(table_name = domains)]
        pub struct Domain {
            pub id: i32,
            pub domain: String,
            pub tenant_id: i32,
            pub is_primary: bool,
        }
    };
    expands_to("domain_model.rs", row::expand(Derive::Domain, item));
}

#[test]
fn tenant_app_on_a_unit_struct() {
    let arguments = quote! {
        migrations = "golden/migrations",
        source = more(),
        after = [Customers, "billing"],
        types = ["hotel"],
        sees_shared = true,
    };
    let item = quote!(
        pub struct Hotels;
    );
    expands_to(
        "tenant_app.rs",
        app::expand(Scope::Tenant, arguments, &item),
    );
}

#[test]
fn both_attributes_on_a_model() {
    let item = quote! {
        #[tenant_app]
        #[derive(Queryable)]
        #[diesel(table_name = rooms)]
        pub struct Room {
            pub id: i32,
        }
    };
    expands_to(
        "shared_and_tenant_model.rs",
        app::expand(Scope::Shared, quote!(), &item),
    );
}
