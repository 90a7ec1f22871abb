#[allow(dead_code, reason = "not every program needs every method")]
#[automatically_derived]
impl Client {
    /// A new `Client`, not saved yet, whose other fields have their defaults.
    #[must_use]
    pub fn new(
        schema_name: SchemaName,
        domain_url: impl ::core::convert::Into<String>,
    ) -> Self {
        Self {
            schema_name,
            domain_url: ::core::convert::Into::into(domain_url),
            id: <i32 as ::core::default::Default>::default(),
            name: <String as ::core::default::Default>::default(),
            paid_until: ::core::option::Option::None,
            on_trial: true,
            created_at: <DateTime<Utc> as ::core::default::Default>::default(),
        }
    }
    /// Sets `name`: The name on the invoice.
    #[must_use]
    pub fn name(mut self, name: impl ::core::convert::Into<String>) -> Self {
        self.name = ::core::convert::Into::into(name);
        self
    }
    /// Sets `paid_until`.
    #[must_use]
    pub fn paid_until(
        mut self,
        paid_until: impl ::core::convert::Into<Option<NaiveDate>>,
    ) -> Self {
        self.paid_until = ::core::convert::Into::into(paid_until);
        self
    }
    /// Sets `on_trial`.
    #[must_use]
    pub fn on_trial(mut self, on_trial: bool) -> Self {
        self.on_trial = on_trial;
        self
    }
}
const _: () = {
    use ::tenant_schemas::__private::diesel::{
        ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, RunQueryDsl as _,
    };
    #[automatically_derived]
    impl ::tenant_schemas::TenantModel for Client {
        type Id = i32;
        const AUTO_DROP_SCHEMA: bool = true;
        fn table() -> ::tenant_schemas::TableName {
            ::tenant_schemas::TableName::of(&clients::table)
        }
        fn fields() -> &'static [::tenant_schemas::Field] {
            const FIELDS: &[::tenant_schemas::Field] = &[
                ::tenant_schemas::Field::new(
                    "id",
                    <clients::id as ::tenant_schemas::__private::diesel::Column>::NAME,
                    "i32",
                    "",
                    ::tenant_schemas::FieldRole::Id,
                    false,
                    ::core::option::Option::None,
                ),
                ::tenant_schemas::Field::new(
                    "schema_name",
                    <clients::schema_name as ::tenant_schemas::__private::diesel::Column>::NAME,
                    "SchemaName",
                    "",
                    ::tenant_schemas::FieldRole::SchemaName,
                    false,
                    ::core::option::Option::None,
                ),
                ::tenant_schemas::Field::new(
                    "domain_url",
                    <clients::domain_url as ::tenant_schemas::__private::diesel::Column>::NAME,
                    "String",
                    "",
                    ::tenant_schemas::FieldRole::DomainUrl,
                    false,
                    ::core::option::Option::None,
                ),
                ::tenant_schemas::Field::new(
                    "name",
                    <clients::name as ::tenant_schemas::__private::diesel::Column>::NAME,
                    "String",
                    "The name on the invoice.",
                    ::tenant_schemas::FieldRole::Plain,
                    false,
                    ::core::option::Option::None,
                ),
                ::tenant_schemas::Field::new(
                    "paid_until",
                    <clients::paid_until as ::tenant_schemas::__private::diesel::Column>::NAME,
                    "Option<NaiveDate>",
                    "",
                    ::tenant_schemas::FieldRole::Plain,
                    true,
                    ::core::option::Option::None,
                ),
                ::tenant_schemas::Field::new(
                    "on_trial",
                    <clients::on_trial as ::tenant_schemas::__private::diesel::Column>::NAME,
                    "bool",
                    "",
                    ::tenant_schemas::FieldRole::Plain,
                    false,
                    ::core::option::Option::Some(|| {
                        let value: bool = true;
                        ::std::string::ToString::to_string(&value)
                    }),
                ),
                ::tenant_schemas::Field::new(
                    "created_at",
                    <clients::created_at as ::tenant_schemas::__private::diesel::Column>::NAME,
                    "DateTime<Utc>",
                    "",
                    ::tenant_schemas::FieldRole::Generated,
                    false,
                    ::core::option::Option::None,
                ),
            ];
            FIELDS
        }
        fn from_text(
            text: &mut dyn ::core::ops::FnMut(
                &::tenant_schemas::Field,
            ) -> ::core::option::Option<::std::string::String>,
        ) -> ::core::result::Result<
            Self,
            ::std::vec::Vec<::tenant_schemas::FieldError>,
        > {
            let fields = <Self as ::tenant_schemas::TenantModel>::fields();
            let mut form = ::tenant_schemas::__private::Form::new(fields, text);
            let schema_name = ::tenant_schemas::__private::Form::value(
                &mut form,
                1usize,
                ::tenant_schemas::__private::parse_schema_name,
                ::core::option::Option::None,
            );
            let domain_url = ::tenant_schemas::__private::Form::value(
                &mut form,
                2usize,
                ::tenant_schemas::__private::parse,
                ::core::option::Option::None,
            );
            let name = ::tenant_schemas::__private::Form::value(
                &mut form,
                3usize,
                ::tenant_schemas::__private::parse,
                ::core::option::Option::None,
            );
            let paid_until = ::tenant_schemas::__private::Form::value(
                &mut form,
                4usize,
                |text| ::tenant_schemas::__private::parse_optional(
                    text,
                    ::tenant_schemas::__private::parse,
                ),
                ::core::option::Option::Some(|| -> Option<NaiveDate> {
                    ::core::option::Option::None
                }),
            );
            let on_trial = ::tenant_schemas::__private::Form::value(
                &mut form,
                5usize,
                ::tenant_schemas::__private::parse_bool,
                ::core::option::Option::Some(|| -> bool { true }),
            );
            let (
                ::core::option::Option::Some(schema_name),
                ::core::option::Option::Some(domain_url),
                ::core::option::Option::Some(name),
                ::core::option::Option::Some(paid_until),
                ::core::option::Option::Some(on_trial),
            ) = (schema_name, domain_url, name, paid_until, on_trial) else {
                return ::core::result::Result::Err(form.into_errors());
            };
            ::core::result::Result::Ok(Self {
                schema_name,
                domain_url,
                name,
                paid_until,
                on_trial,
                id: <i32 as ::core::default::Default>::default(),
                created_at: <DateTime<Utc> as ::core::default::Default>::default(),
            })
        }
        fn set_text(
            &mut self,
            field: &str,
            text: &str,
        ) -> ::core::result::Result<(), ::tenant_schemas::FieldError> {
            let fields = <Self as ::tenant_schemas::TenantModel>::fields();
            match field {
                "schema_name" => {
                    self.schema_name = ::tenant_schemas::__private::parse_field(
                        &fields[1usize],
                        text,
                        ::tenant_schemas::__private::parse_schema_name,
                    )?;
                }
                "domain_url" => {
                    self.domain_url = ::tenant_schemas::__private::parse_field(
                        &fields[2usize],
                        text,
                        ::tenant_schemas::__private::parse,
                    )?;
                }
                "name" => {
                    self.name = ::tenant_schemas::__private::parse_field(
                        &fields[3usize],
                        text,
                        ::tenant_schemas::__private::parse,
                    )?;
                }
                "paid_until" => {
                    self.paid_until = ::tenant_schemas::__private::parse_field(
                        &fields[4usize],
                        text,
                        |text| ::tenant_schemas::__private::parse_optional(
                            text,
                            ::tenant_schemas::__private::parse,
                        ),
                    )?;
                }
                "on_trial" => {
                    self.on_trial = ::tenant_schemas::__private::parse_field(
                        &fields[5usize],
                        text,
                        ::tenant_schemas::__private::parse_bool,
                    )?;
                }
                _ => {
                    return ::core::result::Result::Err(
                        ::tenant_schemas::__private::unknown_field(fields, field),
                    );
                }
            }
            ::core::result::Result::Ok(())
        }
        fn id(&self) -> &Self::Id {
            &self.id
        }
        fn forget_id(&mut self) {
            self.id = ::core::default::Default::default();
        }
        fn schema_name(&self) -> &::tenant_schemas::SchemaName {
            &self.schema_name
        }
        fn set_schema_name(&mut self, schema: ::tenant_schemas::SchemaName) {
            self.schema_name = schema;
        }
        fn domain_url(&self) -> ::core::option::Option<&str> {
            ::core::option::Option::Some(
                ::core::convert::AsRef::<str>::as_ref(&self.domain_url),
            )
        }
        fn tenant_type(&self) -> ::core::option::Option<::std::string::String> {
            ::core::option::Option::None
        }
        fn insert_row(
            &self,
            conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<Self> {
            let values = (
                clients::schema_name.eq(&self.schema_name),
                clients::domain_url.eq(&self.domain_url),
                clients::name.eq(&self.name),
                clients::paid_until.eq(&self.paid_until),
                clients::on_trial.eq(&self.on_trial),
            );
            let row = <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                ::tenant_schemas::__private::diesel::pg::Pg,
            >>::as_returning();
            if ::tenant_schemas::RowId::is_unset(&self.id) {
                ::tenant_schemas::__private::diesel::insert_into(clients::table)
                    .values(values)
                    .returning(row)
                    .get_result(conn)
            } else {
                ::tenant_schemas::__private::diesel::insert_into(clients::table)
                    .values((clients::id.eq(&self.id), values))
                    .returning(row)
                    .get_result(conn)
            }
        }
        fn update_row(
            &self,
            conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            ::tenant_schemas::__private::diesel::update(
                    clients::table.filter(clients::id.eq(&self.id)),
                )
                .set((
                    clients::schema_name.eq(&self.schema_name),
                    clients::domain_url.eq(&self.domain_url),
                    clients::name.eq(&self.name),
                    clients::paid_until.eq(&self.paid_until),
                    clients::on_trial.eq(&self.on_trial),
                ))
                .returning(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_returning(),
                )
                .get_result(conn)
                .optional()
        }
        fn delete_row(
            &self,
            conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<bool> {
            ::tenant_schemas::__private::diesel::delete(
                    clients::table.filter(clients::id.eq(&self.id)),
                )
                .execute(conn)
                .map(|rows| rows != 0)
        }
        fn row_by_id(
            conn: &mut ::tenant_schemas::TenantConnection,
            id: &Self::Id,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(clients::id.eq(id))
                .first(conn)
                .optional()
        }
        fn row_by_schema(
            conn: &mut ::tenant_schemas::TenantConnection,
            schema: &str,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(clients::schema_name.eq(schema))
                .first(conn)
                .optional()
        }
        fn row_by_domain(
            conn: &mut ::tenant_schemas::TenantConnection,
            domain: &str,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(clients::domain_url.eq(domain))
                .first(conn)
                .optional()
        }
        fn rows(
            conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<::std::vec::Vec<Self>> {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .load(conn)
        }
        fn rows_with(
            conn: &mut ::tenant_schemas::TenantConnection,
            value: &str,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::std::vec::Vec<(Self, ::core::option::Option<::std::string::String>)>,
        > {
            let value = ::tenant_schemas::__private::diesel::dsl::sql::<
                ::tenant_schemas::__private::diesel::sql_types::Nullable<
                    ::tenant_schemas::__private::diesel::sql_types::Text,
                >,
            >(value);
            let row = <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                ::tenant_schemas::__private::diesel::pg::Pg,
            >>::as_select();
            clients::table.select((row, value)).load(conn)
        }
    }
};
