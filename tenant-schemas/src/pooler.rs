//! Noticing a pooler that hands one session to several clients.
//!
//! With transaction or statement pooling a `SET` stays behind on a session that
//! another client uses next: the path of one tenant under the queries of
//! another, in silence. Two connections that share a session give it away.

use std::process;
use std::time::SystemTime;

use diesel::Connection as _;
use diesel::pg::PgConnection;

use crate::error::{Error, Result};
use crate::sql;

/// Refuses a database URL that leads to sessions which others use in between.
///
/// `first` leaves a mark on its session. A connection of one's own has none;
/// behind such a pooler it gets the session that was given back last. Under
/// traffic it may be another, so what passes here is likely, not certainly, fit.
pub(crate) fn refuse_shared_sessions(first: &mut PgConnection, database_url: &str) -> Result<()> {
    let failed = |error| Error::database("looking for a pooler", error);
    let mark = format!("{}.{:?}", process::id(), SystemTime::now());
    sql::session::mark_session(first, &mark).map_err(failed)?;
    // The role may be allowed one connection only: then there is no second to share with.
    let Ok(mut second) = PgConnection::establish(database_url) else {
        return Ok(());
    };
    if sql::session::session_is_marked(&mut second, &mark).map_err(failed)? {
        return Err(Error::SharedSessions);
    }
    Ok(())
}
