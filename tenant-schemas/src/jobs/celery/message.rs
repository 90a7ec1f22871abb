//! Messages of Celery's protocol 2, in the envelope that kombu gives them on Redis.

use base64ct::{Base64, Encoding as _};
use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::jobs::TenantRef;

/// The header in which `tenant-schemas-celery` names the tenant.
pub(super) const SCHEMA: &str = "_schema_name";

/// The header in which we say which tenant had that name. Python passes it on unread.
const TENANT: &str = "_tenant_id";

/// What Python calls the schema that is nobody's.
pub(super) const PUBLIC: &str = "public";

/// How much of the arguments is repeated in the headers, for people.
const SHOWN: usize = 1024;

/// Whose a task is, as a message says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of the tenant which has this schema now.
    Schema(String),
    /// That of this tenant, whatever its schema is called now.
    Tenant(TenantRef),
    /// Nobody's, by the name of the public schema or by its absence.
    Unsaid,
}

/// When a task is sent, and what else is said of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    pub(super) eta: Option<DateTime<Utc>>,
    pub(super) expires: Option<DateTime<Utc>>,
    pub(super) priority: u8,
}

/// A message, with everything that others wrote into it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    headers: Map<String, Value>,
    rest: Map<String, Value>,
}

impl Message {
    /// A new message with the keyword arguments of a task; without a tenant, for the public schema.
    pub(super) fn new(
        id: &str,
        task: &str,
        kwargs: &Map<String, Value>,
        tenant: Option<&TenantRef>,
        queue: &str,
        labels: &Labels,
    ) -> Self {
        let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
        let body = json!([[], kwargs, embed]).to_string();
        let shown: String = Value::from(kwargs.clone())
            .to_string()
            .chars()
            .take(SHOWN)
            .collect();
        let mut headers = object(json!({
            "lang": "py",
            "task": task,
            "id": id,
            "shadow": null,
            "eta": labels.eta.map(written),
            "expires": labels.expires.map(written),
            "group": null,
            "group_index": null,
            "retries": 0,
            "timelimit": [null, null],
            "root_id": id,
            "parent_id": null,
            "argsrepr": "()",
            "kwargsrepr": shown,
            "origin": format!("{}@tenant-schemas", std::process::id()),
            "ignore_result": false,
            "replaced_task_nesting": 0,
            "stamped_headers": null,
            "stamps": {},
            SCHEMA: tenant.map_or(PUBLIC, |tenant| tenant.schema().as_str()),
        }));
        if let Some(tenant) = tenant {
            headers.insert(TENANT.to_owned(), tenant.id().into());
        }
        let rest = object(json!({
            "body": Base64::encode_string(body.as_bytes()),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "properties": {
                "correlation_id": id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": labels.priority,
                "body_encoding": "base64",
                "delivery_tag": uuid::Uuid::new_v4().to_string(),
            },
        }));
        Self { headers, rest }
    }

    /// Reads a message; says what is wrong with it.
    pub(super) fn read(raw: &[u8]) -> Result<Self, String> {
        let mut rest: Map<String, Value> = serde_json::from_slice(raw)
            .map_err(|error| format!("it is no JSON object: {error}"))?;
        let Some(Value::Object(headers)) = rest.remove("headers") else {
            return Err("it has no headers".to_owned());
        };
        let message = Self { headers, rest };
        if message.text("id").is_none() || message.text("task").is_none() {
            return Err(
                "its headers name no task: it is of Celery's protocol 1, set `task_protocol = 2`"
                    .to_owned(),
            );
        }
        Ok(message)
    }

    /// The message as it is sent.
    pub(super) fn written(&self) -> String {
        let mut all = self.rest.clone();
        all.insert("headers".to_owned(), self.headers.clone().into());
        Value::from(all).to_string()
    }

    /// Says which tenant has the schema that the message names: it is that one's, however often it is tried.
    /// Returns whether it did not say so before.
    pub(super) fn pin(&mut self, tenant: &TenantRef) -> bool {
        let id = Value::from(tenant.id());
        self.headers.insert(TENANT.to_owned(), id.clone()) != Some(id)
    }

    /// The same task for another try.
    pub(super) fn again(&self, eta: DateTime<Utc>) -> Self {
        let mut again = self.clone();
        let retries = self.retries().saturating_add(1);
        again.headers.insert("retries".to_owned(), retries.into());
        again.headers.insert("eta".to_owned(), written(eta).into());
        if let Some(Value::Object(properties)) = again.rest.get_mut("properties") {
            let tag = uuid::Uuid::new_v4().to_string();
            properties.insert("delivery_tag".to_owned(), tag.into());
        }
        again
    }

    /// A header that is text.
    pub(super) fn text(&self, header: &str) -> Option<&str> {
        self.headers.get(header)?.as_str()
    }

    /// The task's identifier, and its name.
    pub(super) fn names(&self) -> (&str, &str) {
        (
            self.text("id").unwrap_or_default(),
            self.text("task").unwrap_or_default(),
        )
    }

    /// How often it was retried.
    pub(super) fn retries(&self) -> u32 {
        let retries = self.headers.get("retries").and_then(Value::as_u64);
        retries.map_or(0, |retries| u32::try_from(retries).unwrap_or(u32::MAX))
    }

    /// Whether nobody wants to know what becomes of it.
    pub(super) fn ignores_result(&self) -> bool {
        self.headers.get("ignore_result") == Some(&Value::Bool(true))
    }

    /// A time in a header, or what is wrong with it.
    pub(super) fn time(&self, header: &str) -> Result<Option<DateTime<Utc>>, String> {
        let Some(text) = self.text(header) else {
            return Ok(None);
        };
        let without_zone = || text.parse::<NaiveDateTime>().map(|time| time.and_utc());
        let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
        time.or_else(|_| without_zone())
            .map(Some)
            .map_err(|_| format!("`{header}` is {text:?}, which is no time of ISO 8601"))
    }

    /// Whose it is, or what is wrong with what it says.
    pub(super) fn whose(&self) -> Result<Whose, String> {
        let schema = match self.headers.get(SCHEMA) {
            None | Some(Value::Null) => None,
            Some(Value::String(schema)) => Some(schema.clone()),
            Some(other) => return Err(format!("`{SCHEMA}` is {other}, which is no name")),
        };
        match (self.headers.get(TENANT), schema) {
            (None | Some(Value::Null), None) => Ok(Whose::Unsaid),
            (None | Some(Value::Null), Some(schema)) => Ok(Whose::Schema(schema)),
            (Some(Value::String(id)), schema) => {
                TenantRef::from_message(Some(id.clone()), schema.as_deref()).map(Whose::Tenant)
            }
            (Some(other), _) => Err(format!("`{TENANT}` is {other}, which is no text")),
        }
    }

    /// The arguments by name, or why they can't be had.
    pub(super) fn keywords(&self, parameters: &[&str]) -> Result<Map<String, Value>, String> {
        let part = |name: &str| self.rest.get(name).and_then(Value::as_str);
        if part("content-type") != Some("application/json") {
            return Err(format!(
                "its content type is {:?}: set `task_serializer = 'json'` where it is sent",
                part("content-type").unwrap_or_default()
            ));
        }
        if self
            .headers
            .get("compression")
            .is_some_and(|compression| !compression.is_null())
        {
            return Err(
                "it is compressed: leave `task_compression` unset where it is sent".to_owned(),
            );
        }
        let garbled = |error: &dyn std::fmt::Display| format!("its body is garbled: {error}");
        let body = part("body").ok_or_else(|| garbled(&"it is no text"))?;
        let encoding = self
            .rest
            .get("properties")
            .and_then(|all| all.get("body_encoding"));
        let body = match encoding.and_then(Value::as_str) {
            Some("base64") => Base64::decode_vec(body).map_err(|error| garbled(&error))?,
            _ => body.as_bytes().to_vec(),
        };
        let (args, mut kwargs, embed): (Vec<Value>, Map<String, Value>, Map<String, Value>) =
            serde_json::from_slice(&body).map_err(|error| garbled(&error))?;
        if let Some((part, _)) = embed.iter().find(|(_, value)| is_given(value)) {
            return Err(format!(
                "it is part of a canvas ({part}), which only Python's workers follow: send it by itself"
            ));
        }
        if args.len() > parameters.len() {
            return Err(format!(
                "it has {} arguments by position, the task {} `PARAMETERS`: name them there, \
                 or send them as keyword arguments",
                args.len(),
                parameters.len()
            ));
        }
        for (name, value) in parameters.iter().zip(args) {
            if kwargs.insert((*name).to_owned(), value).is_some() {
                return Err(format!("it has two values for the argument `{name}`"));
            }
        }
        Ok(kwargs)
    }

    /// What becomes of it, as Celery's Redis backend keeps it.
    pub(super) fn outcome(&self, status: &str, result: &Value) -> Value {
        let done = matches!(status, "SUCCESS" | "FAILURE" | "REVOKED");
        let mut meta = object(json!({
            "status": status,
            "result": result,
            "traceback": null,
            "children": [],
            "date_done": done.then(|| written(Utc::now())),
            "task_id": self.text("id"),
        }));
        for (header, key) in [("group", "group_id"), ("parent_id", "parent_id")] {
            if let Some(id) = self.text(header) {
                meta.insert(key.to_owned(), id.into());
            }
        }
        meta.into()
    }
}

/// Whether there is something in a part of the embedded canvas.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(values) => !values.is_empty(),
        _ => true,
    }
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// The map in a value that is one.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as Celery 5.7 wrote it, `add.apply_async((9,), {'b': 3}, ..)`.
    const FROM_PYTHON: &str = r#"{"body": "W1s5XSwgeyJiIjogM30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVsbH1d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "add", "id": "9bc6e4db", "eta": "2026-11-25T00:38:35.360899+00:00", "expires": null, "retries": 0, "timelimit": [null, null], "ignore_result": false, "stamps": {}, "_schema_name": "acme"}, "properties": {"delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "c7ad65b7"}}"#;

    fn from_python(edit: impl FnOnce(&mut Value)) -> Message {
        let mut value: Value = serde_json::from_str(FROM_PYTHON).expect("JSON");
        edit(&mut value);
        Message::read(value.to_string().as_bytes()).expect("a message")
    }

    fn embed(value: &Value, part: &str) -> Message {
        from_python(|message| {
            message["body"] =
                Base64::encode_string(json!([[], {}, {part: value}]).to_string().as_bytes()).into();
        })
    }

    #[test]
    fn arguments_by_position_get_their_names() {
        let message = from_python(|_| ());
        let kwargs = message.keywords(&["a", "b"]).expect("arguments");
        assert_eq!(Value::from(kwargs), json!({"a": 9, "b": 3}));
        let error = message.keywords(&[]).expect_err("nameless");
        assert!(
            error.starts_with("it has 1 arguments by position, the task 0 `PARAMETERS`"),
            "{error}"
        );
        let error = message.keywords(&["b"]).expect_err("twice");
        assert_eq!(error, "it has two values for the argument `b`");
    }

    #[test]
    fn what_a_message_says_of_its_tenant_is_told_apart() {
        let whose = |schema: Value, id: Value| {
            from_python(|message| {
                message["headers"][SCHEMA] = schema;
                message["headers"][TENANT] = id;
            })
            .whose()
        };
        assert_eq!(
            from_python(|_| ()).whose(),
            Ok(Whose::Schema("acme".to_owned()))
        );
        assert_eq!(whose(Value::Null, Value::Null), Ok(Whose::Unsaid));
        let tenant = whose("acme".into(), "7".into()).expect("a tenant");
        assert!(matches!(tenant, Whose::Tenant(tenant) if tenant.to_string() == "acme (7)"));
        assert!(whose(7.into(), Value::Null).is_err());
        assert!(whose("acme".into(), 7.into()).is_err());
        assert!(whose(Value::Null, "7".into()).is_err());
        assert!(whose("public".into(), "7".into()).is_err());
    }

    #[test]
    fn a_message_for_another_try_keeps_all_but_its_count_and_time() {
        let message = from_python(|_| ());
        let eta = "2027-01-01T00:00:00Z".parse().expect("a time");
        let again = Message::read(message.again(eta).written().as_bytes()).expect("a message");
        assert_eq!(again.retries(), 1);
        assert_eq!(again.time("eta"), Ok(Some(eta)));
        assert_eq!(again.whose(), message.whose());
        assert_eq!(again.names(), message.names());
        assert_eq!(again.rest["body"], message.rest["body"]);
        assert_ne!(again.rest["properties"]["delivery_tag"], "c7ad65b7");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for raw in [
            "",
            "7",
            "[]",
            "{}",
            r#"{"headers": 7}"#,
            r#"{"headers": {"id": "1"}}"#,
        ] {
            assert!(Message::read(raw.as_bytes()).is_err(), "{raw}");
        }
        let pickled = from_python(|message| {
            message["content-type"] = "application/x-python-serialize".into();
        });
        let error = pickled.keywords(&["a"]).expect_err("pickled");
        assert!(error.contains("task_serializer"), "{error}");
        let chained = embed(&json!([{"task": "next"}]), "chain")
            .keywords(&[])
            .expect_err("chained");
        assert!(chained.contains("canvas (chain)"), "{chained}");
        assert_eq!(embed(&json!([]), "callbacks").keywords(&[]), Ok(Map::new()));
        let late = from_python(|message| message["headers"]["eta"] = "tomorrow".into());
        assert!(late.time("eta").is_err());
    }

    #[test]
    fn times_with_and_without_a_zone_are_read() {
        let time =
            |text: &str| from_python(|message| message["headers"]["eta"] = text.into()).time("eta");
        let noon = Ok(Some("2026-01-01T12:00:00Z".parse().expect("a time")));
        assert_eq!(time("2026-01-01T12:00:00+00:00"), noon);
        assert_eq!(time("2026-01-01T14:00:00+02:00"), noon);
        assert_eq!(time("2026-01-01T12:00:00.000000"), noon);
    }
}
