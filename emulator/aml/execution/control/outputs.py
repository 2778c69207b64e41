"""Collects ./outputs and ./logs as artifacts, for scripts that run without the SDK."""
import os

import blobs

BATCH = 500


def upload(svc, root, folders=("outputs", "logs")):
    """Uploads all files below the folders; returns how many."""
    names = []
    for folder in folders:
        full = os.path.join(root, folder)
        if os.path.isdir(full):
            names += [folder + "/" + name for name in blobs.files_below(full)]
    for start in range(0, len(names), BATCH):
        batch = names[start:start + BATCH]
        urls = svc.declare_artifacts(batch)
        for name in batch:
            blobs.upload(svc, urls[name], os.path.join(root, *name.split("/")))
    return len(names)
