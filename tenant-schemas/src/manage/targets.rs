//! `--schema` and `--exclude`: which schemas a command is about.

use std::collections::HashSet;
use std::time::Instant;

use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::provision::Lifecycle as _;
use crate::tenancy::Tenancy;

use super::outcome::Failure;
use super::table::count;
use super::ui;

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Targets {
    /// Only this schema; a pattern with `*` and `?` means all that match. May be given repeatedly.
    #[arg(long, value_name = "NAME|GLOB")]
    pub(super) schema: Vec<String>,
    /// Not this schema; patterns as for `--schema`. May be given repeatedly.
    #[arg(long, value_name = "NAME|GLOB")]
    pub(super) exclude: Vec<String>,
}

/// One schema that a command is about.
#[derive(Debug, Clone)]
pub(super) struct Target<T> {
    pub(super) schema: SchemaName,
    /// Whose it is; the shared schema can be nobody's.
    pub(super) tenant: Option<T>,
    /// When that was read, or before.
    pub(super) read: Instant,
    pub(super) shared: bool,
}

impl Targets {
    /// Whether anything narrows the fleet down.
    pub(super) fn is_empty(&self) -> bool {
        self.schema.is_empty() && self.exclude.is_empty()
    }

    /// The names of the schemas that are meant; nothing if nothing narrows the fleet down.
    pub(super) fn names<T: TenantModel>(
        &self,
        tenancy: &Tenancy<T>,
    ) -> Result<Option<HashSet<String>>, Failure> {
        if self.is_empty() {
            return Ok(None);
        }
        let chosen = self.choose(tenancy, true)?;
        let name = |target: Target<T>| target.schema.to_string();
        Ok(Some(chosen.into_iter().map(name).collect()))
    }

    /// The schemas that are meant, the shared one first, then by name.
    ///
    /// Without `--schema` that is every tenant, and the shared schema if `shared`.
    pub(super) fn choose<T: TenantModel>(
        &self,
        tenancy: &Tenancy<T>,
        shared: bool,
    ) -> Result<Vec<Target<T>>, Failure> {
        let public = tenancy.registry().public().clone();
        let is_public = |pattern: &String| *pattern == public.as_str();
        // On a fresh database the table of tenants is yet to be made.
        let known = if !self.schema.is_empty() && self.schema.iter().all(is_public) {
            vec![shared_target(tenancy)]
        } else {
            let mut all = vec![shared_target(tenancy)];
            all.extend(tenants(tenancy)?);
            all
        };
        let names: HashSet<&str> = known.iter().map(|target| target.schema.as_str()).collect();
        let means_some = |pattern: &String| {
            names.contains(pattern.as_str())
                || (is_glob(pattern) && known.iter().any(|target| matches(pattern, &target.schema)))
        };
        for pattern in &self.schema {
            if !means_some(pattern) {
                return Err(unknown(pattern, &known));
            }
        }
        for pattern in &self.exclude {
            if !means_some(pattern) {
                ui::warn(&format!(
                    "`--exclude {pattern}` leaves nothing out: no schema is called so"
                ));
            }
        }
        let names_public = self.schema.iter().any(is_public);
        let (wanted, unwanted) = (Patterns::new(&self.schema), Patterns::new(&self.exclude));
        let mut chosen = known;
        chosen.retain(|target| {
            let wanted = if self.schema.is_empty() {
                shared || !target.shared
            } else {
                // A pattern means tenants: the shared schema has to be named.
                wanted.match_any(&target.schema) && (!target.shared || shared || names_public)
            };
            wanted && !unwanted.match_any(&target.schema)
        });
        Ok(chosen)
    }
}

/// Names and patterns, of which there may be thousands.
struct Patterns<'a> {
    names: HashSet<&'a str>,
    globs: Vec<&'a str>,
}

impl<'a> Patterns<'a> {
    fn new(patterns: &'a [String]) -> Self {
        let globs = patterns.iter().filter(|pattern| is_glob(pattern));
        Self {
            names: patterns.iter().map(String::as_str).collect(),
            globs: globs.map(String::as_str).collect(),
        }
    }

    fn match_any(&self, schema: &SchemaName) -> bool {
        self.names.contains(schema.as_str())
            || self.globs.iter().any(|pattern| matches(pattern, schema))
    }
}

/// The one schema of this name.
pub(super) fn one<T: TenantModel>(tenancy: &Tenancy<T>, name: &str) -> Result<Target<T>, Failure> {
    let public = shared_target(tenancy);
    if name == public.schema.as_str() {
        return Ok(public);
    }
    let read = Instant::now();
    if let Some(tenant) = T::by_schema(&mut *tenancy.public()?, name)? {
        return Ok(target(tenant, read));
    }
    let mut known = vec![public];
    known.extend(tenants(tenancy)?);
    Err(unknown(name, &known))
}

/// The tenant of this schema.
pub(super) fn tenant<T: TenantModel>(tenancy: &Tenancy<T>, name: &str) -> Result<T, Failure> {
    if let Some(tenant) = T::by_schema(&mut *tenancy.public()?, name)? {
        return Ok(tenant);
    }
    Err(unknown(name, &tenants(tenancy)?))
}

/// An error if a tenant that was made just now lacks migrations: those that can't run in a transaction
/// run after it, and what failed there is only logged.
pub(super) fn require_migrated<T: TenantModel>(
    tenancy: &Tenancy<T>,
    schema: &SchemaName,
) -> Result<(), Failure> {
    let pending = tenancy.migrate().schema(schema).check()?;
    let steps: usize = pending.schemas.iter().map(|one| one.steps.len()).sum();
    if steps == 0 {
        return Ok(());
    }
    let message = format!(
        "tenant {schema} is there, but {} failed that can't run in a transaction, or came behind it: \
         `migrate_schemas --schema={schema}` runs the rest and says why",
        count(steps, "migration")
    );
    Err(Failure::Error(message.into()))
}

/// Every tenant but the public one.
pub(super) fn tenants<T: TenantModel>(tenancy: &Tenancy<T>) -> Result<Vec<Target<T>>, Failure> {
    let read = Instant::now();
    let tenants = tenancy.tenants()?.into_iter();
    Ok(tenants.map(|tenant| target(tenant, read)).collect())
}

fn target<T: TenantModel>(tenant: T, read: Instant) -> Target<T> {
    Target {
        schema: tenant.schema_name().clone(),
        tenant: Some(tenant),
        read,
        shared: false,
    }
}

fn shared_target<T: TenantModel>(tenancy: &Tenancy<T>) -> Target<T> {
    Target {
        schema: tenancy.registry().public().clone(),
        tenant: None,
        read: Instant::now(),
        shared: true,
    }
}

fn unknown<T>(pattern: &str, known: &[Target<T>]) -> Failure {
    Failure::usage(format!(
        "no tenant has the schema `{pattern}`; {}",
        some_of(known)
    ))
}

/// Names some schemas, for those who mistyped one.
pub(super) fn some_of<T>(known: &[Target<T>]) -> String {
    const SOME: usize = 10;
    let names: Vec<&str> = known
        .iter()
        .take(SOME)
        .map(|target| target.schema.as_str())
        .collect();
    match known.len() {
        0 => "there are no tenants yet".to_owned(),
        all if all > SOME => format!(
            "there are {} and {} more, see `list_tenants`",
            names.join(", "),
            all - SOME
        ),
        _ => format!("there are {}", names.join(", ")),
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

fn matches(pattern: &str, schema: &SchemaName) -> bool {
    glob(pattern.as_bytes(), schema.as_str().as_bytes())
}

/// `*` is any text, `?` any one byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        (Some((b'?', rest)), Some((_, text))) => glob(rest, text),
        (Some((wanted, rest)), Some((found, text))) => wanted == found && glob(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("tenant1", "tenant1", true),
            ("tenant", "tenant1", false),
            ("tenant*", "tenant", true),
            ("tenant*", "tenant12", true),
            ("*1*", "a1b", true),
            ("tenant?", "tenant1", true),
            ("tenant?", "tenant12", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                glob(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
