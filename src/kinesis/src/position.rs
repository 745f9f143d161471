//! From a place in a shard to an iterator or a subscription (spec 9.2).

use aws_sdk_kinesis::error::BuildError;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use snowmelt_streams::{SequenceNumber, StartAt};

/// Where reading goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub kind: ShardIteratorType,
    /// As the service spells it, where it came from there.
    pub sequence: Option<String>,
    pub timestamp: Option<DateTime>,
}

impl Position {
    /// The position, and the user record up to which what is read from it is passed over: a record may have been consumed in
    /// part, so it is read again and what was consumed of it is dropped.
    pub fn of(start: &StartAt) -> (Self, Option<SequenceNumber>) {
        match *start {
            StartAt::TrimHorizon => (Self::trim_horizon(), None),
            StartAt::Latest => (Self::of_kind(ShardIteratorType::Latest), None),
            StartAt::At(sequence) => (Self::at(sequence), sequence.sub.checked_sub(1).map(|sub| sequence.part(sub))),
            StartAt::After(sequence) => (Self::at(sequence), Some(sequence)),
            StartAt::AtTimestampMs(millis) => (Self::at_millis(millis), None),
        }
    }

    pub fn trim_horizon() -> Self {
        Self::of_kind(ShardIteratorType::TrimHorizon)
    }

    pub fn after(sequence: String) -> Self {
        Self { sequence: Some(sequence), ..Self::of_kind(ShardIteratorType::AfterSequenceNumber) }
    }

    pub fn at_millis(millis: i64) -> Self {
        Self { timestamp: Some(DateTime::from_millis(millis)), ..Self::of_kind(ShardIteratorType::AtTimestamp) }
    }

    fn at(sequence: SequenceNumber) -> Self {
        let sequence = Some(sequence.part(0).to_string());
        Self { sequence, ..Self::of_kind(ShardIteratorType::AtSequenceNumber) }
    }

    fn of_kind(kind: ShardIteratorType) -> Self {
        Self { kind, sequence: None, timestamp: None }
    }

    /// Whether it says nothing about what was read.
    pub fn is_latest(&self) -> bool {
        self.kind == ShardIteratorType::Latest
    }

    /// For a subscription.
    pub fn starting(&self) -> Result<StartingPosition, BuildError> {
        StartingPosition::builder()
            .r#type(self.kind.clone())
            .set_sequence_number(self.sequence.clone())
            .set_timestamp(self.timestamp)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_its_record_again_and_drops_what_was_consumed() {
        let number = SequenceNumber::new(0, 4711);
        let (position, after) = Position::of(&StartAt::After(number.part(3)));
        assert_eq!((position.kind, position.sequence.as_deref()), (ShardIteratorType::AtSequenceNumber, Some("4711")));
        assert_eq!(after, Some(number.part(3)));
        assert_eq!(Position::of(&StartAt::At(number.part(3))).1, Some(number.part(2)));
        assert_eq!(Position::of(&StartAt::At(number)).1, None);
    }
}
