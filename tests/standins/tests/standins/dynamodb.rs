//! DynamoDB: the faults that leases meet.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use snowmelt_standins::{Fault, Kind, Service};

use crate::{dynamodb_client, standins, unique};

async fn table(client: &Client) -> String {
    let name = unique("table");
    let key =
        AttributeDefinition::builder().attribute_name("k").attribute_type(ScalarAttributeType::S).build().unwrap();
    let schema = KeySchemaElement::builder().attribute_name("k").key_type(KeyType::Hash).build().unwrap();
    let made = client.create_table().table_name(&name).attribute_definitions(key).key_schema(schema);
    made.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    name
}

async fn count(client: &Client, table: &str, known: u32) -> Result<(), String> {
    let update = client.update_item().table_name(table).key("k", AttributeValue::S("row".to_owned()));
    let update =
        update.update_expression("SET n = :next").condition_expression("attribute_not_exists(n) OR n = :known");
    let update = update.expression_attribute_values(":next", AttributeValue::N((known + 1).to_string()));
    let update = update.expression_attribute_values(":known", AttributeValue::N(known.to_string()));
    update.send().await.map(|_| ()).map_err(|error| error.code().unwrap_or("none").to_owned())
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_fails_its_repetition() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = dynamodb_client(standins.endpoint(Service::DynamoDb).unwrap());
    let table = table(&client).await;
    count(&client, &table, 0).await.unwrap();
    standins.faults(Service::DynamoDb).unwrap().set(vec![Fault::new("UpdateItem", Kind::Lost).times(1)]);
    assert_eq!(count(&client, &table, 1).await, Err("InternalFailure".to_owned()));
    assert_eq!(count(&client, &table, 1).await, Err("ConditionalCheckFailedException".to_owned()));
    assert_eq!(count(&client, &table, 2).await, Ok(()));
}

#[tokio::test]
async fn throttled_writes_and_cut_reads_do_nothing() {
    let Some((standins, _turn)) = standins().await else { return };
    let client = dynamodb_client(standins.endpoint(Service::DynamoDb).unwrap());
    let table = table(&client).await;
    let faults = standins.faults(Service::DynamoDb).unwrap();
    faults.set(vec![Fault::new("UpdateItem", Kind::Throttle).times(1), Fault::new("Scan", Kind::Cut).times(1)]);
    assert_eq!(count(&client, &table, 0).await, Err("ProvisionedThroughputExceededException".to_owned()));
    assert!(client.scan().table_name(&table).send().await.is_err());
    assert_eq!(client.scan().table_name(&table).send().await.unwrap().count(), 0);
    assert_eq!(faults.report().requests("Scan"), 2);
}
