//! The tables, as Diesel sees them: nothing here knows of tenants.

diesel::table! {
    /// The customers: the tenants.
    clients (id) {
        id -> Integer,
        schema_name -> Text,
        domain_url -> Text,
        name -> Text,
        paid_until -> Nullable<Date>,
        on_trial -> Bool,
    }
}

diesel::table! {
    /// Where guests come from; shared.
    countries (code) {
        code -> Bpchar,
        name -> Text,
    }
}

diesel::table! {
    /// The rooms of a hotel.
    rooms (id) {
        id -> Integer,
        name -> Text,
    }
}

diesel::table! {
    /// The bookings of a hotel.
    bookings (id) {
        id -> Integer,
        room_id -> Integer,
        guest -> Text,
        country_code -> Bpchar,
    }
}

diesel::joinable!(bookings -> countries (country_code));
diesel::joinable!(bookings -> rooms (room_id));
diesel::allow_tables_to_appear_in_same_query!(bookings, countries, rooms);
