//! MD5 fingerprints of events, worked out for several events at once: alone each would take a quarter of the event's time.
//!
//! An event gets a place-holder; when enough events wait, or the batch ends, the digests are written over it in the finished lines.
//! That is only done where nobody sees the place-holder: no later enrichment looks at the column, it is no partition key, and an event
//! that gives a bad row gets its digest at once.

mod lanes;

use bytes::BytesMut;
use md5::{Digest, Md5};
use snowmelt_protocol::event::{Column, EnrichedEvent};

use crate::outputs::OutRecord;

/// Characters of a fingerprint.
pub(crate) const LEN: usize = 32;
const PLACE_HOLDER: &str = "--------------------------------";
/// Events that wait at most: each lane has a second message when the first is shorter than its neighbour's.
const MOST: usize = 2 * lanes::LANES;

/// The fingerprint of the event that is worked on.
#[derive(Debug, Default)]
pub(crate) struct Deferral {
    /// Whether it may be put off.
    allowed: bool,
    /// Whether it is.
    waiting: bool,
    message: Vec<u8>,
}

impl Deferral {
    /// Begins an event.
    pub(crate) fn begin(&mut self, allowed: bool) {
        *self = Self { allowed, waiting: false, message: std::mem::take(&mut self.message) };
    }

    /// Sets the event's fingerprint to the MD5 of the message that `write` makes, now or later.
    pub(crate) fn set(&mut self, event: &mut EnrichedEvent, write: impl FnOnce(&mut Vec<u8>)) {
        self.message.clear();
        write(&mut self.message);
        event.set(Column::EventFingerprint, PLACE_HOLDER);
        self.waiting = true;
        if !self.allowed {
            self.settle(event);
        }
    }

    /// Works it out now, if it was put off.
    pub(crate) fn settle(&mut self, event: &mut EnrichedEvent) {
        if std::mem::take(&mut self.waiting) {
            let digest = Md5::digest(&self.message);
            event.set_with(Column::EventFingerprint, |out| out.extend(hex(&digest).map(char::from)));
        }
    }
}

/// Good events whose lines lack their fingerprint.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints {
    /// The first `places.len()` of them wait; the others are memory.
    messages: Vec<Vec<u8>>,
    places: Vec<Place>,
}

/// Where a fingerprint belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Which of the good events.
    record: usize,
    /// Where in its line.
    at: usize,
}

impl Fingerprints {
    /// Notes that the next of the good events, `event`, lacks its fingerprint, if it does.
    pub(crate) fn put_off(&mut self, deferral: &mut Deferral, event: &EnrichedEvent, good: &mut [OutRecord]) {
        if !std::mem::take(&mut deferral.waiting) {
            return;
        }
        let Some(record) = good.len().checked_sub(1) else { return };
        // One column comes behind.
        let at = good[record].data.len() - event.len_of(Column::TrueTstamp) - 1 - LEN;
        if self.places.len() == self.messages.len() {
            self.messages.push(Vec::new());
        }
        std::mem::swap(&mut self.messages[self.places.len()], &mut deferral.message);
        self.places.push(Place { record, at });
        if self.places.len() == MOST {
            self.settle(good);
        }
    }

    /// Forgets those of good events from `len` on.
    pub(crate) fn rewind(&mut self, len: usize) {
        self.places.retain(|place| place.record < len);
    }

    /// Writes all that wait.
    pub(crate) fn settle(&mut self, good: &mut [OutRecord]) {
        let Self { messages, places } = self;
        lanes::digests(&mut messages[..places.len()], |index, digest| {
            let Place { record, at } = places[index];
            let data = std::mem::take(&mut good[record].data);
            let mut line = data.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            line[at..at + LEN].copy_from_slice(&hex(&digest));
            good[record].data = line.freeze();
        });
        places.clear();
    }
}

fn hex(digest: &[u8]) -> [u8; LEN] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut hex = [0; LEN];
    for (two, byte) in hex.chunks_exact_mut(2).zip(digest) {
        two.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    hex
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn lines_get_the_digest_of_their_own_message() {
        let mut fingerprints = Fingerprints::default();
        let (mut event, mut deferral) = (EnrichedEvent::new(), Deferral::default());
        let (mut good, mut expected) = (Vec::new(), Vec::new());
        for number in 0..100 {
            event.clear();
            deferral.begin(number % 3 != 0);
            let message = vec![b'm'; number * 7];
            deferral.set(&mut event, |out| out.extend_from_slice(&message));
            if number % 2 == 0 {
                event.set(Column::TrueTstamp, "2026-11-24 10:00:00.000");
            }
            good.push(OutRecord { partition_key: String::new(), data: Bytes::from(event.to_tsv()) });
            fingerprints.put_off(&mut deferral, &event, &mut good);
            expected.push(Md5::digest(&message).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            if number == 50 {
                fingerprints.rewind(40);
                good.truncate(40);
                expected.truncate(40);
            }
        }
        fingerprints.settle(&mut good);
        let found = good.iter().map(|record| {
            let line = std::str::from_utf8(&record.data).unwrap();
            EnrichedEvent::parse_tsv(line).unwrap().text(Column::EventFingerprint).to_owned()
        });
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
