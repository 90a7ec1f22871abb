//! A tenant as a file, and a tenant out of a file.
//!
//! The file is SQL that `psql` runs as it is, under the name that the schema
//! had. Comments between the statements say where each begins and ends and
//! where it says the schema's name, so that [`restore`] needs to understand no
//! SQL to run it under another:
//!
//! - `--: dump 1` at the beginning, then `--: schema NAME`
//! - `--: do BYTES MENTIONS ROLES NAME`, then a statement of so many bytes and `;`
//! - `--: rows BYTES`, then `COPY TARGET FROM stdin;` with a target of so many bytes, rows, `\.`
//! - `--: end` at the end
//!
//! Mentions are ranges of bytes, roles are those that the statement needs; both
//! are lists with commas, `-` if there is none. What stands elsewhere is for `psql` alone.

mod raw;
mod read;
mod write;

use std::io::{self, BufRead, Write};

use crate::clone::{Copied, Make};
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::migrate::locked;
use crate::model::TenantModel;
use crate::provision::{refuse_other_scope, registry_of, saved_row};

/// The version of the format.
const FORMAT: &str = "1";
/// What the lines begin with that are for [`read`].
const MARK: &str = "--: ";

/// What a dump holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct DumpOptions {
    data: bool,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self { data: true }
    }
}

impl DumpOptions {
    /// Options that dump everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the rows and the values of sequences are dumped. Defaults to yes.
    ///
    /// The ledger is dumped either way: it says which migrations the structure has.
    pub fn data(self, data: bool) -> Self {
        Self { data }
    }
}

/// How a dump is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct RestoreOptions {
    migrate: bool,
}

impl RestoreOptions {
    /// Options that restore a dump which has every migration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the schema is migrated if migrations are pending. Defaults to no, which is an error then.
    pub fn migrate(self, migrate: bool) -> Self {
        Self { migrate }
    }
}

/// Tenants as files. Every [`TenantModel`] has it.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// # let tests = tests()?;
/// # let tenancy = tests.tenancy();
/// # let acme = client(tenancy, "acme")?;
/// use tenant_schemas::{DumpOptions, DumpTenant, RestoreOptions};
///
/// let mut file = Vec::new(); // yours is a `BufWriter<File>`
/// acme.dump_to(&mut *tenancy.tenant(&acme)?, &mut file, DumpOptions::new())?;
///
/// let mut back = Client::new("acme_back".parse()?, "back.my-domain.com");
/// back.restore_from(&mut *tenancy.public()?, &mut file.as_slice(), RestoreOptions::new())?;
/// assert_eq!(rooms::table.count().get_result(&mut tenancy.tenant(&back)?), Ok(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DumpTenant: TenantModel {
    /// Writes the tenant's schema as SQL, as it is at one moment.
    ///
    /// Until it is written its rows can be read and written; who empties or changes a table waits.
    /// The row of the tenant is not in it: whoever restores the dump gives it another.
    /// Nothing but the schema's own objects is read, however many schemas there are,
    /// and rows are passed on as they come. The file is for [`restore_from`](Self::restore_from)
    /// and for `psql`.
    ///
    /// Returns what a person should know, each in a sentence: what was left out, and
    /// function bodies that may say the schema's name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSchema`], [`Error::Protected`] for the shared schema,
    /// [`Error::OtherScope`] from the scope of another tenant,
    /// [`Error::SchemaNameChanged`] if the row has another schema name than the value,
    /// [`Error::Io`] if it can't be written, or what the database says; inside a
    /// transaction it is refused, since it needs one of its own.
    fn dump_to(
        &self,
        conn: &mut TenantConnection,
        out: &mut dyn Write,
        options: DumpOptions,
    ) -> Result<Vec<String>> {
        let registry = registry_of::<Self>(conn)?;
        let schema = self.schema_name();
        refuse_other_scope(conn, &registry, schema)?;
        registry.refuse_protected(schema, "dumped")?;
        if conn.in_transaction() {
            return Err(Error::InsideTransaction {
                schema: schema.clone(),
            });
        }
        // Taken before the transaction begins: what it sees is fixed by its first statement.
        locked(conn, schema, |conn| {
            saved_row(self, conn)?;
            conn.own(|inner| write::dump(inner, schema, out, options.data))
        })
    }

    /// Saves this tenant, with a schema out of a dump, in one transaction or a savepoint of the caller's.
    ///
    /// The schema gets this tenant's name, whatever it was called when it was
    /// dumped. Owners and grants of roles that are not there are left out, each
    /// with a warning; so are policies for such roles, but that a restrictive one is for everyone then.
    ///
    /// # Errors
    ///
    /// Nothing is changed if there is an error. [`Error::Dump`] if the file is none of
    /// ours or is cut short, [`Error::Io`] if it can't be read,
    /// [`Error::SchemaExists`], [`Error::Behind`] if it lacks migrations,
    /// [`Error::Protected`], [`Error::OtherScope`], [`Error::Duplicate`], or what
    /// the database says.
    fn restore_from(
        &mut self,
        conn: &mut TenantConnection,
        input: &mut dyn BufRead,
        options: RestoreOptions,
    ) -> Result<Copied> {
        let registry = registry_of::<Self>(conn)?;
        refuse_other_scope(conn, &registry, self.schema_name())?;
        let make = Make {
            source: None,
            migrate: options.migrate,
            once: true,
        };
        make.tenant(conn, &registry, self, |conn, target| {
            read::restore(conn, target, input)
        })
    }
}

impl<T: TenantModel> DumpTenant for T {}

fn writing(source: io::Error) -> Error {
    Error::Io {
        doing: "writing the dump".to_owned(),
        source,
    }
}

/// A name as one word of a line.
fn encode(name: &str) -> String {
    use std::fmt::Write as _;
    name.chars().fold(String::new(), |mut word, character| {
        if character == '%'
            || character == ','
            || character == '-'
            || character.is_whitespace()
            || character.is_control()
        {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(word, "%{byte:02x}");
            }
        } else {
            word.push(character);
        }
        word
    })
}

/// The name that a word stands for.
fn decode(word: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_word() {
        for name in [
            "rooms",
            "a b",
            "100%",
            "a,b",
            "-",
            "new\nline",
            "größe",
            "\u{85}",
            "",
        ] {
            let word = encode(name);
            assert!(!word.contains([' ', ',', '\n', '-']), "{word}");
            assert_eq!(decode(&word).as_deref(), Some(name));
        }
    }
}
