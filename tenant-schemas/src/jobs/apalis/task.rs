//! [`Received`]: what came out of a queue.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::jobs::{InTenant, JobError, Shared, SharedJob, TenantRef};

/// What came out of a queue: an envelope, or something that is none.
///
/// A worker ends if a message of its queue can't be read. Whatever is JSON can
/// be read as this, so a message without a tenant ends its task, not the worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Received<E>(Content<E>);

#[derive(Debug, Clone, PartialEq)]
enum Content<E> {
    Envelope(E),
    Refused {
        message: serde_json::Value,
        reason: String,
    },
}

/// The tasks of a worker whose jobs are tenants'.
pub type TenantTask<J> = Received<InTenant<J>>;

/// The tasks of a worker whose jobs are nobody's.
pub type SharedTask<J> = Received<Shared<J>>;

impl<E> Received<E> {
    /// The envelope.
    ///
    /// # Errors
    ///
    /// [`JobError::Refused`] if the message is none; a handler behind a
    /// [`TenancyLayer`](super::TenancyLayer) is not called then.
    pub fn envelope(&self) -> Result<&E, JobError> {
        match &self.0 {
            Content::Envelope(envelope) => Ok(envelope),
            Content::Refused { reason, .. } => Err(JobError::Refused {
                reason: reason.clone(),
            }),
        }
    }

    /// The envelope.
    ///
    /// # Errors
    ///
    /// As [`envelope`](Self::envelope).
    pub fn into_envelope(self) -> Result<E, JobError> {
        match self.0 {
            Content::Envelope(envelope) => Ok(envelope),
            Content::Refused { reason, .. } => Err(JobError::Refused { reason }),
        }
    }
}

impl<J> Received<InTenant<J>> {
    /// The job.
    ///
    /// # Errors
    ///
    /// As [`envelope`](Self::envelope).
    pub fn into_job(self) -> Result<J, JobError> {
        self.into_envelope().map(|envelope| envelope.into_parts().1)
    }
}

impl<J: SharedJob> Received<Shared<J>> {
    /// The job.
    ///
    /// # Errors
    ///
    /// As [`envelope`](Self::envelope).
    pub fn into_job(self) -> Result<J, JobError> {
        self.into_envelope().map(Shared::into_job)
    }
}

impl<E> From<E> for Received<E> {
    fn from(envelope: E) -> Self {
        Self(Content::Envelope(envelope))
    }
}

impl<E: Serialize> Serialize for Received<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Content::Envelope(envelope) => envelope.serialize(serializer),
            Content::Refused { message, .. } => message.serialize(serializer),
        }
    }
}

impl<'de, E: for<'e> Deserialize<'e>> Deserialize<'de> for Received<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(match E::deserialize(&message) {
            Ok(envelope) => Content::Envelope(envelope),
            Err(error) => Content::Refused {
                reason: error.to_string(),
                message,
            },
        }))
    }
}

/// What the tasks of a worker with a [`TenancyLayer`](super::TenancyLayer) are: envelopes, read or refused.
pub trait ReceivedEnvelope {
    /// The tenant; `None` for a job that is nobody's.
    ///
    /// # Errors
    ///
    /// [`JobError::Refused`] if the message is no such envelope.
    fn tenant(&self) -> Result<Option<&TenantRef>, JobError>;
}

impl<J> ReceivedEnvelope for InTenant<J> {
    fn tenant(&self) -> Result<Option<&TenantRef>, JobError> {
        Ok(Some(self.tenant()))
    }
}

impl<J> ReceivedEnvelope for Shared<J> {
    fn tenant(&self) -> Result<Option<&TenantRef>, JobError> {
        Ok(None)
    }
}

impl<E: ReceivedEnvelope> ReceivedEnvelope for Received<E> {
    fn tenant(&self) -> Result<Option<&TenantRef>, JobError> {
        self.envelope()?.tenant()
    }
}
