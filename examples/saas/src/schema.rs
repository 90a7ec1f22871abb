//! The tables, as Diesel sees them: nothing here knows of tenants.

diesel::table! {
    /// The hotels: the tenants. Shared.
    hotels (id) {
        id -> Integer,
        schema_name -> Text,
        domain_url -> Text,
        name -> Text,
        theme -> Text,
        suspended -> Bool,
    }
}

diesel::table! {
    /// Hotels that were signed up. Shared.
    openings (hotel_id) {
        hotel_id -> Integer,
        waiting -> Bool,
        ticket -> Nullable<Text>,
        email -> Nullable<Text>,
        password_hash -> Nullable<Text>,
    }
}

diesel::table! {
    /// The rooms of a hotel.
    rooms (id) {
        id -> Integer,
        number -> Text,
        name -> Text,
        price -> Integer,
    }
}

diesel::table! {
    /// The bookings of a hotel.
    bookings (id) {
        id -> Integer,
        reference -> Text,
        room_id -> Integer,
        guest -> Text,
        arrival -> Date,
        departure -> Date,
    }
}

diesel::table! {
    /// Who is logged in at a hotel.
    sessions (token_hash) {
        token_hash -> Binary,
        user_id -> BigInt,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    /// The logo of a hotel.
    logos (id) {
        id -> Integer,
        content_type -> Text,
        bytes -> Binary,
    }
}

diesel::define_sql_function! {
    /// Of numbers on doors: 9 comes before 10.
    fn length(text: diesel::sql_types::Text) -> diesel::sql_types::Integer;
}

diesel::joinable!(bookings -> rooms (room_id));
diesel::joinable!(openings -> hotels (hotel_id));
diesel::allow_tables_to_appear_in_same_query!(openings, hotels);
diesel::allow_tables_to_appear_in_same_query!(bookings, rooms);
