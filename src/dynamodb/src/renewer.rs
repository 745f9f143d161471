//! Renewals in the background. Spec: kinesis-leases 4.2, 17.1, 17.4, 19.6.
//!
//! Each lease is renewed by itself a third of the failover time after its last write, checkpoints included, at most so many at the
//! same time. A lease whose group is silent is renewed no more: what keeps a dead group's lease alive keeps its shard unread.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::held::{Change, Failed, Held, Lost};
use crate::member::Member;
use crate::metric::Metric;
use crate::options::as_ms;

/// How long a group that has lost its lease may take to be silent, before the lease is handed over.
const SILENCE: Duration = Duration::from_secs(1);

/// Renews a member's leases until the member is dropped.
pub async fn run(member: Weak<Member>) {
    let Some(options) = member.upgrade().map(|member| Arc::clone(&member.options)) else { return };
    let permits = Arc::new(Semaphore::new(options.renewals_at_once.max(1)));
    let tick = (options.failover / 40).clamp(Duration::from_millis(20), Duration::from_millis(250));
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(member) = member.upgrade() else { return };
        for held in member.all_held() {
            look(&member, &held, &permits);
        }
        member.publish();
    }
}

/// Does for one lease what is due.
fn look(member: &Arc<Member>, held: &Arc<Held>, permits: &Arc<Semaphore>) {
    let pulse = held.pulse();
    if pulse.lost {
        member.drop_held(held);
        return;
    }
    if pulse.age_ms >= as_ms(member.options.failover) {
        held.run_out();
        member.want_look();
        member.drop_held(held);
        return;
    }
    if pulse.hand_over {
        hand_over(member, held);
        return;
    }
    if !pulse.due {
        return;
    }
    if pulse.silent_ms > as_ms(member.options.silence()) {
        held.renewed(false);
        if !pulse.has_group {
            let (member, held) = (Arc::clone(member), Arc::clone(held));
            member.refuse(held.shard());
            tokio::spawn(async move {
                if let Err(failed) = member.give_up(&held).await {
                    tracing::warn!(
                        application = member.app,
                        shard = held.shard(),
                        ?failed,
                        "a lease that nobody processes was not given up"
                    );
                }
            });
        } else if held.warn_silent() {
            tracing::error!(
                application = member.app,
                shard = held.shard(),
                silent_ms = pulse.silent_ms,
                "the shard's group is silent: its lease is renewed no more"
            );
        }
        return;
    }
    let (member, held, permits) = (Arc::clone(member), Arc::clone(held), Arc::clone(permits));
    tokio::spawn(async move {
        // The semaphore is never closed; without a permit it would only be one renewal more.
        let permit = permits.acquire_owned().await;
        renew(&member, &held).await;
        drop(permit);
    });
}

async fn renew(member: &Arc<Member>, held: &Arc<Held>) {
    let written = held.write(&member.renewals, &Change::Renew).await;
    held.renewed(written.is_ok());
    match written {
        Ok(row) => member.note(row),
        Err(Failed::Lost(lost)) => {
            if lost == Lost::Gone {
                member.forget(held.shard());
            }
            member.want_look();
            member.drop_held(held);
        }
        Err(Failed::Fault(fault)) => {
            Metric::RenewalsFailed.count(&member.app, 1);
            let age_ms = held.pulse_age_ms();
            if age_ms > as_ms(member.options.failover) * 2 / 3 {
                tracing::warn!(application = member.app, shard = held.shard(), age_ms, error = %fault, "the lease is about to run out");
            } else {
                tracing::debug!(application = member.app, shard = held.shard(), age_ms, error = %fault, "not renewed");
            }
        }
    }
}

/// A leader of the Kinesis Client Library 3 wants the lease for another worker: the group ends at its last checkpoint, then the
/// other begins there. Spec: kinesis-leases 5.2, 6 rule 4.
fn hand_over(member: &Arc<Member>, held: &Arc<Held>) {
    if !held.fence_off() {
        return;
    }
    let to = held.row().owner;
    tracing::info!(application = member.app, shard = held.shard(), to, "the lease is wanted by another worker");
    let (member, held) = (Arc::clone(member), Arc::clone(held));
    tokio::spawn(async move {
        tokio::time::sleep(SILENCE).await;
        if let Err(failed) = member.give_up(&held).await {
            tracing::warn!(application = member.app, shard = held.shard(), ?failed, "the lease was not handed over");
        }
    });
}
