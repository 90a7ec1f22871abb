#[derive(Queryable)]
#[diesel(table_name = rooms)]
pub struct Room {
    pub id: i32,
}
::tenant_schemas::__private::inventory::submit! {
    ::tenant_schemas::DeclaredTable::new("Room", ::tenant_schemas::AppScope::Both,
    ::core::concat!(::core::file!(), ":", ::core::line!()), ||
    ::tenant_schemas::TableName::of(& rooms::table), ||
    ::tenant_schemas::__private::column_names(& rooms::all_columns), ||
    ::core::any::TypeId::of:: < rooms::table > (),)
}
