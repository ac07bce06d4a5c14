//! What the parsers of all messages share.

use bank_domain::{Command, Currency, Owner, RequestId};

use super::violations::Violations;
use crate::{grpc::message::RequestFields, status::Failure};

/// Defaults for what a message leaves out, and limits on what it has.
pub(in crate::grpc) struct Defaults<'a> {
    /// The currency of an account that is opened without one.
    pub(in crate::grpc) currency: Currency,
    /// The owner of an account that is opened without one.
    pub(in crate::grpc) owner: &'a Owner,
    /// The largest message of a call, in bytes.
    pub(in crate::grpc) message_bytes_max: usize,
    /// The largest amount of one movement, and the largest overdraft limit, in minor units.
    pub(in crate::grpc) amount_minor_units_max: i64,
}

/// What a message becomes.
pub(in crate::grpc) trait Parse<Message>: Sized {
    /// Reads a message. `None` if it is malformed; then `violations` says how.
    fn read(message: Message, defaults: &Defaults<'_>, violations: &mut Violations) -> Option<Self>;

    /// Reads a message, or returns all its violations.
    fn parse(message: Message, defaults: &Defaults<'_>) -> Result<Self, Failure> {
        let mut violations = Violations::default();
        let parsed = Self::read(message, defaults, &mut violations);
        violations.finish(parsed)
    }
}

/// A query for a reply that may be large.
pub(in crate::grpc) trait ReplySize {
    /// About how much memory the reply takes at most, in bytes; 0 for a small reply.
    fn bytes_max(&self) -> usize {
        0
    }
}

/// A command, and its idempotency key if it has one.
impl<Message: RequestFields> Parse<Message> for (Command, Option<RequestId>)
where
    Command: Parse<Message>,
{
    fn read(message: Message, defaults: &Defaults<'_>, violations: &mut Violations) -> Option<Self> {
        let request_id = match message.fields().request_id {
            "" => Ok(None),
            text => text.parse().map(Some),
        };
        let command = Command::read(message, defaults, violations);
        let request_id = violations.check("request_id", request_id);
        Some((command?, request_id?))
    }
}

impl<Message> Parse<Box<Message>> for Command
where
    Self: Parse<Message>,
{
    fn read(message: Box<Message>, defaults: &Defaults<'_>, violations: &mut Violations) -> Option<Self> {
        Self::read(*message, defaults, violations)
    }
}
