//! Every definition that is shipped loads.

use anyhow::Result;
use snowmelt_tests::{root, run_to_end};

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_definition_passes_check() -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("pipelines"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") {
            names.push(format!("pipelines/{name}"));
        }
    }
    assert!(names.contains(&"pipelines/quickstart.toml".to_owned()), "{names:?}");
    for name in names {
        let check = run_to_end(&["check", &name]).await?;
        assert_eq!(check.code, Some(0), "{name}: {check:?}");
        assert!(check.stdout.contains("memory"), "{name} states no memory bound: {}", check.stdout);
    }
    Ok(())
}
