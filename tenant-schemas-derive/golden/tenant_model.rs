#[allow(dead_code, reason = "not every program needs every method")]
#[automatically_derived]
impl Client {
    /// A new `Client`, not saved yet, whose other fields have their defaults.
    #[must_use]
    pub fn new(
        __schema_name: SchemaName,
        __domain_url: impl ::core::convert::Into<String>,
    ) -> Self {
        Self {
            schema_name: __schema_name,
            domain_url: ::core::convert::Into::into(__domain_url),
            id: ::tenant_schemas::__private::initial::<i32>(),
            name: ::tenant_schemas::__private::initial::<String>(),
            paid_until: ::core::option::Option::None,
            on_trial: true,
            created_at: ::tenant_schemas::__private::initial::<DateTime<Utc>>(),
        }
    }
    /// Sets `name`: The name on the invoice.
    #[must_use]
    pub fn name(mut self, __value: impl ::core::convert::Into<String>) -> Self {
        self.name = ::core::convert::Into::into(__value);
        self
    }
    /// Sets `paid_until`.
    #[must_use]
    pub fn paid_until(
        mut self,
        __value: impl ::core::convert::Into<Option<NaiveDate>>,
    ) -> Self {
        self.paid_until = ::core::convert::Into::into(__value);
        self
    }
    /// Sets `on_trial`.
    #[must_use]
    pub fn on_trial(mut self, __value: bool) -> Self {
        self.on_trial = __value;
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
                        let __value: bool = true;
                        ::std::string::ToString::to_string(&__value)
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
            __text: &mut dyn ::core::ops::FnMut(
                &::tenant_schemas::Field,
            ) -> ::core::option::Option<::std::string::String>,
        ) -> ::core::result::Result<
            Self,
            ::std::vec::Vec<::tenant_schemas::FieldError>,
        > {
            let __fields = <Self as ::tenant_schemas::TenantModel>::fields();
            let mut __form = ::tenant_schemas::__private::Form::new(__fields, __text);
            let __field_1 = ::tenant_schemas::__private::Form::value(
                &mut __form,
                1usize,
                ::tenant_schemas::__private::parse_schema_name,
                ::core::option::Option::None,
            );
            let __field_2 = ::tenant_schemas::__private::Form::value(
                &mut __form,
                2usize,
                ::tenant_schemas::__private::parse,
                ::core::option::Option::None,
            );
            let __field_3 = ::tenant_schemas::__private::Form::value(
                &mut __form,
                3usize,
                ::tenant_schemas::__private::parse,
                ::core::option::Option::None,
            );
            let __field_4 = ::tenant_schemas::__private::Form::value(
                &mut __form,
                4usize,
                |__text| ::tenant_schemas::__private::parse_optional(
                    __text,
                    ::tenant_schemas::__private::parse,
                ),
                ::core::option::Option::Some(|| -> Option<NaiveDate> {
                    ::core::option::Option::None
                }),
            );
            let __field_5 = ::tenant_schemas::__private::Form::value(
                &mut __form,
                5usize,
                ::tenant_schemas::__private::parse_bool,
                ::core::option::Option::Some(|| -> bool { true }),
            );
            let (
                ::core::option::Option::Some(__field_1),
                ::core::option::Option::Some(__field_2),
                ::core::option::Option::Some(__field_3),
                ::core::option::Option::Some(__field_4),
                ::core::option::Option::Some(__field_5),
            ) = (__field_1, __field_2, __field_3, __field_4, __field_5) else {
                return ::core::result::Result::Err(__form.into_errors());
            };
            ::core::result::Result::Ok(Self {
                schema_name: __field_1,
                domain_url: __field_2,
                name: __field_3,
                paid_until: __field_4,
                on_trial: __field_5,
                id: ::tenant_schemas::__private::initial::<i32>(),
                created_at: ::tenant_schemas::__private::initial::<DateTime<Utc>>(),
            })
        }
        fn set_text(
            &mut self,
            __field: &str,
            __text: &str,
        ) -> ::core::result::Result<(), ::tenant_schemas::FieldError> {
            let __fields = <Self as ::tenant_schemas::TenantModel>::fields();
            match __field {
                "schema_name" => {
                    self.schema_name = ::tenant_schemas::__private::parse_field(
                        &__fields[1usize],
                        __text,
                        ::tenant_schemas::__private::parse_schema_name,
                    )?;
                }
                "domain_url" => {
                    self.domain_url = ::tenant_schemas::__private::parse_field(
                        &__fields[2usize],
                        __text,
                        ::tenant_schemas::__private::parse,
                    )?;
                }
                "name" => {
                    self.name = ::tenant_schemas::__private::parse_field(
                        &__fields[3usize],
                        __text,
                        ::tenant_schemas::__private::parse,
                    )?;
                }
                "paid_until" => {
                    self.paid_until = ::tenant_schemas::__private::parse_field(
                        &__fields[4usize],
                        __text,
                        |__text| ::tenant_schemas::__private::parse_optional(
                            __text,
                            ::tenant_schemas::__private::parse,
                        ),
                    )?;
                }
                "on_trial" => {
                    self.on_trial = ::tenant_schemas::__private::parse_field(
                        &__fields[5usize],
                        __text,
                        ::tenant_schemas::__private::parse_bool,
                    )?;
                }
                _ => {
                    return ::core::result::Result::Err(
                        ::tenant_schemas::__private::unknown_field(__fields, __field),
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
        fn set_schema_name(&mut self, __schema: ::tenant_schemas::SchemaName) {
            self.schema_name = __schema;
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
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<Self> {
            let __values = (
                clients::schema_name.eq(&self.schema_name),
                clients::domain_url.eq(&self.domain_url),
                clients::name.eq(&self.name),
                clients::paid_until.eq(&self.paid_until),
                clients::on_trial.eq(&self.on_trial),
            );
            let __row = <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                ::tenant_schemas::__private::diesel::pg::Pg,
            >>::as_returning();
            if ::tenant_schemas::RowId::is_unset(&self.id) {
                ::tenant_schemas::__private::diesel::insert_into(clients::table)
                    .values(__values)
                    .returning(__row)
                    .get_result(__conn)
            } else {
                ::tenant_schemas::__private::diesel::insert_into(clients::table)
                    .values((clients::id.eq(&self.id), __values))
                    .returning(__row)
                    .get_result(__conn)
            }
        }
        fn update_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
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
                .get_result(__conn)
                .optional()
        }
        fn delete_row(
            &self,
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<bool> {
            ::tenant_schemas::__private::diesel::delete(
                    clients::table.filter(clients::id.eq(&self.id)),
                )
                .execute(__conn)
                .map(|__rows| __rows != 0)
        }
        fn row_by_id(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __id: &Self::Id,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(clients::id.eq(__id))
                .first(__conn)
                .optional()
        }
        fn row_by_schema(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __schema: &str,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(clients::schema_name.eq(__schema))
                .first(__conn)
                .optional()
        }
        fn row_by_domain(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __domain: &str,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::core::option::Option<Self>,
        > {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .filter(clients::domain_url.eq(__domain))
                .first(__conn)
                .optional()
        }
        fn rows(
            __conn: &mut ::tenant_schemas::TenantConnection,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<::std::vec::Vec<Self>> {
            clients::table
                .select(
                    <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                        ::tenant_schemas::__private::diesel::pg::Pg,
                    >>::as_select(),
                )
                .load(__conn)
        }
        fn rows_with(
            __conn: &mut ::tenant_schemas::TenantConnection,
            __value: &str,
        ) -> ::tenant_schemas::__private::diesel::QueryResult<
            ::std::vec::Vec<(Self, ::core::option::Option<::std::string::String>)>,
        > {
            let __value = ::tenant_schemas::__private::diesel::dsl::sql::<
                ::tenant_schemas::__private::diesel::sql_types::Nullable<
                    ::tenant_schemas::__private::diesel::sql_types::Text,
                >,
            >(__value);
            let __row = <Self as ::tenant_schemas::__private::diesel::SelectableHelper<
                ::tenant_schemas::__private::diesel::pg::Pg,
            >>::as_select();
            clients::table.select((__row, __value)).load(__conn)
        }
    }
};
