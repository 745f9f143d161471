//! `POST /restart`, `/drain`, `/pause`, `/resume`: commands for the node, a pipeline, a shard's group, or the group of an actor.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use snowmelt_runtime::GroupId;
use snowmelt_supervisor::GroupStatus;
use snowmelt_supervisor::node::Order;
use snowmelt_supervisor::shard::Command;

use super::Api;

/// Which part of the tree a command is for; everything when nothing is said.
#[derive(Debug, Default, Deserialize)]
pub struct Part {
    pipeline: Option<String>,
    shard: Option<String>,
    /// The groups that the actor belongs to: actors of a group live and die together.
    actor: Option<String>,
}

/// What a command was given to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// The command.
    pub command: String,
    /// The groups, as `pipeline/shard`.
    pub groups: Vec<String>,
}

impl Part {
    fn has(&self, group: &GroupStatus) -> bool {
        self.pipeline.as_deref().is_none_or(|pipeline| pipeline == group.id.pipeline)
            && self.shard.as_deref().is_none_or(|shard| shard == group.id.shard)
            && self.actor.as_deref().is_none_or(|actor| group.actors.iter().any(|seen| seen.actor == actor))
    }

    /// The orders that reach exactly `groups`. An order for a whole pipeline also holds for shards that are found later.
    fn orders(&self, groups: &[GroupId], command: Command) -> Vec<Order> {
        let order = |pipeline: Option<&String>, shard: Option<&String>| Order {
            pipeline: pipeline.cloned(),
            shard: shard.cloned(),
            command,
        };
        match &self.actor {
            None => vec![order(self.pipeline.as_ref(), self.shard.as_ref())],
            Some(_) => groups.iter().map(|id| order(Some(&id.pipeline), Some(&id.shard))).collect(),
        }
    }
}

pub(super) async fn give(api: web::Data<Api>, name: web::Path<String>, part: web::Query<Part>) -> HttpResponse {
    if api.closing.load(Ordering::Acquire) {
        return HttpResponse::ServiceUnavailable().body("the node is stopping\n");
    }
    let command = match name.as_str() {
        "restart" => Command::Restart,
        "drain" => Command::Drain,
        "pause" => Command::Pause,
        _ => Command::Resume,
    };
    let groups: Vec<GroupId> =
        api.view.tree.groups().into_iter().filter(|group| part.has(group)).map(|group| group.id).collect();
    let whole = part.shard.is_none() && part.actor.is_none();
    let pipeline_known =
        api.view.tree.pipelines().iter().any(|(name, _)| part.pipeline.as_ref().is_none_or(|wanted| wanted == name));
    if groups.is_empty() && !(whole && pipeline_known) {
        return HttpResponse::NotFound().body("no such pipeline, shard or actor; GET /status lists them\n");
    }
    for order in part.orders(&groups, command) {
        if let Err(error) = api.view.node.send(order).await {
            return HttpResponse::ServiceUnavailable().body(format!("{error}\n"));
        }
    }
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    tracing::info!(command = name.as_str(), groups = groups.join(" "), "an operator's command");
    HttpResponse::Accepted().json(Accepted { command: name.into_inner(), groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pipeline: &str, shard: &str) -> GroupId {
        GroupId { pipeline: pipeline.into(), shard: shard.into() }
    }

    #[test]
    fn an_actor_is_reached_through_its_group_and_everything_by_one_order() {
        let by_actor = Part { actor: Some("enricher".into()), ..Part::default() };
        let orders = by_actor.orders(&[id("enrich", "0"), id("enrich", "1")], Command::Restart);
        let reached: Vec<_> = orders.iter().map(|order| (order.pipeline.as_deref(), order.shard.as_deref())).collect();
        assert_eq!(reached, [(Some("enrich"), Some("0")), (Some("enrich"), Some("1"))]);
        let all = Part::default().orders(&[id("enrich", "0"), id("s3", "0")], Command::Pause);
        assert_eq!((all.len(), all[0].pipeline.as_deref(), all[0].shard.as_deref()), (1, None, None));
    }
}
