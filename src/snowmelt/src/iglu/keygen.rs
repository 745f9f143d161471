//! `snowmelt iglu keygen`.

use reqwest::Method;
use serde_json::{Value, json};

use super::args::KeygenArgs;
use super::client::Registry;
use crate::trouble::Outcome;

/// Prints a new read key and write key, or deletes a key.
pub(super) async fn keygen(args: &KeygenArgs) -> Outcome {
    let registry = Registry::find(&args.registry)?;
    if let Some(key) = &args.delete {
        // Anything but a key would change the request.
        let key: String = key.chars().filter(|c| c.is_ascii_hexdigit() || *c == '-').collect();
        let answer = registry.ask(Method::DELETE, &format!("auth/keygen?key={key}"), None).await?;
        if answer.status != 200 {
            return Err(registry.refused(&answer));
        }
        println!("{}", answer.message());
        return Ok(());
    }
    let body = json!({"vendorPrefix": args.vendor_prefix});
    let answer = registry.ask(Method::POST, "auth/keygen", Some(&body)).await?;
    let key = |name: &str| answer.body.get(name).and_then(Value::as_str);
    let (Some(read), Some(write)) = (key("read"), key("write")) else { return Err(registry.refused(&answer)) };
    println!("read   {read}\nwrite  {write}");
    Ok(())
}
