//! Writes the CustomResourceDefinitions as YAML into the folders named (`make crds` names those of
//! the repository).

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        eprintln!("usage: slotmesh-crds FOLDER...   (for example: slotmesh-crds crds)");
        return ExitCode::from(2);
    }
    for (file, crd) in slotmesh_api::crds::all() {
        let yaml = match serde_saphyr::to_string(&crd) {
            Ok(yaml) => yaml,
            Err(error) => {
                eprintln!("cannot write {file} as YAML: {error}");
                return ExitCode::FAILURE;
            }
        };
        for folder in &folders {
            let path = folder.join(file);
            if let Err(error) = std::fs::write(&path, &yaml) {
                eprintln!("cannot write {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
            println!("{}", path.display());
        }
    }
    ExitCode::SUCCESS
}
