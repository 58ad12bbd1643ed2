"""The endpoint that everybody writes first: FastAPI, an uploaded file, a function on the thread pool.

python fastapi_upload.py MODEL PORT THREADS
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile
from inference import Inspector

inspector = Inspector(sys.argv[1])
app = FastAPI()


@app.post("/predict")
def predict(image: UploadFile) -> dict[str, Any]:
    """One image in a form."""
    return inspector(image.file.read())


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
