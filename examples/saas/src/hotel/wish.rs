//! What a guest asks for, and what may be wrong with it.

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::form::Errors;

/// Nobody stays longer.
const MOST_NIGHTS: i64 = 60;

/// What a guest typed.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct BookingForm {
    room: String,
    guest: String,
    arrival: String,
    departure: String,
}

/// What a guest asks for.
pub(super) struct Wish {
    pub(super) room: i32,
    pub(super) guest: String,
    pub(super) arrival: NaiveDate,
    pub(super) departure: NaiveDate,
}

impl BookingForm {
    pub(super) fn new(today: NaiveDate) -> Self {
        Self {
            arrival: today.to_string(),
            departure: (today + Days::new(1)).to_string(),
            ..Self::default()
        }
    }

    pub(super) fn read(&self, today: NaiveDate) -> Result<Wish, Errors> {
        let mut errors = Errors::default();
        let guest = self.guest.trim();
        errors.require("guest", !guest.is_empty(), "Who is coming?");
        errors.require(
            "guest",
            guest.chars().count() <= 80,
            "At most 80 characters.",
        );
        errors.require_line("guest", guest);
        let room = self.room.parse();
        errors.require("room", room.is_ok(), "Choose a room.");
        let arrival: Option<NaiveDate> = self.arrival.parse().ok();
        let departure: Option<NaiveDate> = self.departure.parse().ok();
        errors.require("arrival", arrival.is_some(), "Which day do you come?");
        errors.require("departure", departure.is_some(), "Which day do you leave?");
        errors.require("arrival", arrival >= Some(today), "This day is over.");
        let (Ok(room), Some(arrival), Some(departure)) = (room, arrival, departure) else {
            return Err(errors);
        };
        let nights = (departure - arrival).num_days();
        errors.require("departure", nights > 0, "Stay for a night at least.");
        errors.require(
            "departure",
            nights <= MOST_NIGHTS,
            "At most 60 nights at a time.",
        );
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Wish {
            room,
            guest: guest.to_owned(),
            arrival,
            departure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BookingForm, NaiveDate};

    #[test]
    fn a_stay_has_a_guest_a_room_and_at_least_one_night_from_today() {
        let today: NaiveDate = "2026-03-01".parse().unwrap();
        let form = |room: &str, guest: &str, arrival: &str, departure: &str| {
            let form = BookingForm {
                room: room.to_owned(),
                guest: guest.to_owned(),
                arrival: arrival.to_owned(),
                departure: departure.to_owned(),
            };
            form.read(today).is_ok()
        };
        assert!(form("1", "Ada", "2026-03-01", "2026-03-02"));
        assert!(!form("1", " ", "2026-03-01", "2026-03-02"));
        assert!(!form("1", "A\0da", "2026-03-01", "2026-03-02"));
        assert!(!form("", "Ada", "2026-03-01", "2026-03-02"));
        assert!(!form("1", "Ada", "2026-02-28", "2026-03-02"));
        assert!(!form("1", "Ada", "2026-03-02", "2026-03-02"));
        assert!(!form("1", "Ada", "2026-03-03", "2026-03-02"));
        assert!(!form("1", "Ada", "2026-03-01", "2026-05-02"));
        assert!(!form("1", "Ada", "soon", "later"));
        assert!(!form("1", "Ada", "2026-03-01", "+262142-12-31"));
    }
}
