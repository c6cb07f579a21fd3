"""What FastGPU runs inside an attempt for people who work in it: JupyterLab and terminals.

As an extension of the Jupyter server it keeps output that nobody was there to see. The notebook is
a document of the server (jupyter-collaboration). As long as the page that started a cell is there,
it writes the outputs into that document, as it always does. When the page goes away, the recorder
takes over: it has listened to the kernel all along, makes the document equal to what it heard and
goes on writing until the run ends. Whoever opens the notebook sees the document.
"""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    from fastgpu.lab.extension import LabExtension

    return [{"module": "fastgpu.lab", "app": LabExtension}]
