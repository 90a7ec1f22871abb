//! What the tenant model says of itself, as the commands need it.

use crate::model::{FieldRole, TenantModel};
use crate::sql::manage::TenantTable;

/// The tenants' table and the columns that tell them apart.
pub(super) fn tenant_table<T: TenantModel>() -> TenantTable {
    let column = |role: FieldRole, usual: &'static str| {
        T::fields()
            .iter()
            .find(|field| field.role == role)
            .map_or(usual, |field| field.column)
    };
    TenantTable {
        table: T::table(),
        id: column(FieldRole::Id, "id"),
        schema_name: column(FieldRole::SchemaName, "schema_name"),
    }
}
