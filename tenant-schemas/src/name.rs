//! [`SchemaName`]: the only strings that are ever written into SQL as an identifier.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;

/// PostgreSQL silently truncates longer identifiers: two tenants could share a schema.
const MAX_BYTES: usize = 63;

/// A schema name that PostgreSQL stores exactly as written.
///
/// A value of this type is the proof that the name was checked. Parsing applies
/// [`SchemaNamePolicy::Plain`]; [`SchemaName::with_policy`] admits more.
///
/// ```
/// use tenant_schemas::{NameError, SchemaName};
///
/// let name: SchemaName = "tenant1".parse()?;
/// assert_eq!(name.quoted(), "\"tenant1\"");
/// assert!("tenant1; DROP SCHEMA public".parse::<SchemaName>().is_err());
/// # Ok::<(), NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, FromSqlRow, AsExpression)]
#[diesel(sql_type = Text)]
pub struct SchemaName(Arc<str>);

/// Which characters a schema name may have.
///
/// Both refuse more than 63 bytes, names that start with `pg_`, and
/// `information_schema`. Defaults to [`SchemaNamePolicy::Plain`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaNamePolicy {
    /// `[a-z_][a-z0-9_]*`: the same name whether a person quotes it or not.
    #[default]
    Plain,
    /// Also upper case, hyphens, digits first, and letters of other alphabets.
    /// Such a name has to be double-quoted wherever a person types it in SQL.
    Quoted,
}

/// Why a string is no schema name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("schema name is empty: give it at least one character")]
    Empty,
    /// The name does not fit into a PostgreSQL identifier.
    #[error(
        "schema name {name:?} is {len} bytes long, PostgreSQL keeps only {MAX_BYTES}: shorten it"
    )]
    TooLong {
        /// The name that was refused.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// The name has a character that the policy does not admit.
    #[error("schema name {name:?} contains {character:?} at byte {at}: {rule}")]
    Character {
        /// The name that was refused.
        name: String,
        /// The first character that is not admitted.
        character: char,
        /// Where it stands, in bytes from the start.
        at: usize,
        /// The rule of the policy, in words.
        rule: &'static str,
    },
    /// PostgreSQL keeps the name for itself.
    #[error(
        "schema name {name:?} is reserved by PostgreSQL (`pg_...`, `information_schema`): choose another"
    )]
    Reserved {
        /// The name that was refused.
        name: String,
    },
}

impl SchemaName {
    /// Checks `name` against `policy`.
    ///
    /// ```
    /// use tenant_schemas::{SchemaName, SchemaNamePolicy};
    ///
    /// assert!("acme-2024".parse::<SchemaName>().is_err());
    /// let name = SchemaName::with_policy("acme-2024", SchemaNamePolicy::Quoted)?;
    /// assert_eq!(name.as_str(), "acme-2024");
    /// # Ok::<(), tenant_schemas::NameError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`NameError`] that names the value and the rule it breaks.
    pub fn with_policy(name: &str, policy: SchemaNamePolicy) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some((at, character)) = name
            .char_indices()
            .find(|(at, character)| !policy.admits(*character, *at == 0))
        {
            return Err(NameError::Character {
                name: name.to_owned(),
                character,
                at,
                rule: policy.rule(),
            });
        }
        if name.len() > MAX_BYTES {
            return Err(NameError::TooLong {
                name: name.to_owned(),
                len: name.len(),
            });
        }
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("pg_") || lower == "information_schema" {
            return Err(NameError::Reserved {
                name: name.to_owned(),
            });
        }
        Ok(Self(name.into()))
    }

    /// PostgreSQL's default schema, `public`.
    #[must_use]
    pub fn public() -> Self {
        Self("public".into())
    }

    /// PostgreSQL's own schema, in which there is nothing of anybody's.
    pub(crate) fn system() -> Self {
        Self("pg_catalog".into())
    }

    /// The name as it is stored in `pg_namespace`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it is written into SQL text: always in double quotes.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Writes it as [`quoted`](Self::quoted) does.
    pub(crate) fn write_quoted(&self, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_char('"')?;
        out.write_str(&self.0)?;
        out.write_char('"')
    }
}

impl SchemaNamePolicy {
    fn admits(self, character: char, first: bool) -> bool {
        match self {
            Self::Plain => {
                matches!(character, 'a'..='z' | '_') || (!first && character.is_ascii_digit())
            }
            Self::Quoted => character.is_alphanumeric() || matches!(character, '_' | '-'),
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Plain => {
                "use lower-case letters, digits and underscores, a letter or underscore first \
                 (`SchemaNamePolicy::Quoted` admits upper case, hyphens and a digit first)"
            }
            Self::Quoted => "use letters, digits, underscores and hyphens",
        }
    }
}

impl FromStr for SchemaName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::with_policy(name, SchemaNamePolicy::Plain)
    }
}

impl TryFrom<&str> for SchemaName {
    type Error = NameError;

    fn try_from(name: &str) -> Result<Self, NameError> {
        name.parse()
    }
}

impl TryFrom<String> for SchemaName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        name.parse()
    }
}

impl AsRef<str> for SchemaName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SchemaName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for SchemaName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SchemaName({:?})", &*self.0)
    }
}

impl ToSql<Text, Pg> for SchemaName {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(&self.0, out)
    }
}

/// A stored name was admitted once, by whatever policy; reading it applies the
/// widest, so that no row can bring a string that is unsafe in SQL text.
impl FromSql<Text, Pg> for SchemaName {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let name = <String as FromSql<Text, Pg>>::from_sql(value)?;
        Ok(Self::with_policy(&name, SchemaNamePolicy::Quoted)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> Result<SchemaName, NameError> {
        name.parse()
    }

    fn quoted(name: &str) -> Result<SchemaName, NameError> {
        SchemaName::with_policy(name, SchemaNamePolicy::Quoted)
    }

    #[track_caller]
    fn refused(result: Result<SchemaName, NameError>, message: &str) {
        let error = result.expect_err("the name must be refused").to_string();
        assert!(
            error.contains(message),
            "{error:?} does not say {message:?}"
        );
    }

    #[test]
    fn c10_accepted_names() {
        for name in [
            "a",
            "_",
            "tenant1",
            "select",
            "user",
            "order",
            "public",
            &"a".repeat(63),
        ] {
            assert_eq!(plain(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn c10_refused_names_and_their_reasons() {
        refused(plain(""), "is empty");
        refused(
            plain(&"a".repeat(64)),
            "is 64 bytes long, PostgreSQL keeps only 63",
        );
        refused(quoted(&"ü".repeat(63)), "is 126 bytes long");
        refused(plain("pg_x"), "reserved by PostgreSQL");
        refused(quoted("PG_toast"), "reserved by PostgreSQL");
        refused(plain("information_schema"), "reserved by PostgreSQL");
        for bad in [
            "a\"b",
            "a'b",
            "a;b",
            "a.b",
            "a,b",
            "$user",
            "a\0b",
            "tenant1\n",
            " a",
            "a b",
            "a\\b",
        ] {
            refused(plain(bad), "use lower-case letters");
            refused(quoted(bad), "use letters, digits, underscores and hyphens");
        }
        refused(plain("1a"), "contains '1' at byte 0");
        refused(plain("aB"), "contains 'B' at byte 1");
        refused(plain("a-b"), "SchemaNamePolicy::Quoted");
    }

    #[test]
    fn c09_digits_and_hyphens_under_the_quoted_policy() {
        for name in ["1", "2024", "acme-2024", "-", "Acme", "größe"] {
            assert_eq!(quoted(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn c11_names_that_differ_only_in_case_are_different_names() {
        assert_ne!(quoted("acme"), quoted("Acme"));
        refused(plain("Acme"), "contains 'A'");
    }
}
