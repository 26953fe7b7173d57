"""Names of modules: which are installed by pip and as what, and which are a project's own."""

from __future__ import annotations

from typing import Final

__all__ = ["CLONED", "OWN_NAMES", "install_name", "is_package"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OWN_NAMES: Final = _words("""
    app arch architecture architectures archs args arguments augmentation augmentations backbone backbones block
    blocks build builder cfg cfgs common components config configs constants core custom data data_loader
    data_loaders data_utils dataload dataloader dataloaders dataset dataset_utils decoder decoders demo
    discriminator encoder encoders engine engines eval evaluate evaluation evaluator experiment experiments
    extensions external file_utils functional_utils functions general generator globals head heads helper helpers
    hyperparameters image_utils img_utils infer inference layer layers lib libs logger logging_utils loss loss_utils
    losses main metric metrics misc model model_utils modeling models module modules my_utils mymodel neck necks net
    nets network networks nn_utils op ops opt optimizer optimizers options opts parameters params parser pipeline
    pipelines plotting postprocess postprocessing predict predictor preprocess preprocessing registry resnet runner
    runners scheduler schedulers script scripts settings solver solvers source src submodules test tests third_party
    tool tools train train_utils trainer trainers training transform transforms unet util utils val validate
    validation vgg vis visualization visualizations visualize visualizer
""")
"""What projects call their own folders and files; no library that is imported under such a name is meant."""

CLONED: Final = _words("""
    basicsr clip detectron2 fairseq gfpgan groundingdino maskrcnn_benchmark mmaction mmcls mmdet mmdet3d mmocr
    mmpose mmpretrain mmrotate mmseg mobile_sam nanodet nnunet pcdet realesrgan sam2 segment_anything slowfast timm
    ultralytics yolox
""")
"""Packages that people also work on in a clone, which has to be installed, or started in, as a project."""

_SAME_NAME: Final = _words("""
    absl accelerate addict aim albucore albumentations attrs av basicsr batchgenerators bitsandbytes bokeh boto3
    braceexpand catboost chumpy clearml click colorama coloredlogs colorlog cupy cython cython_bbox dataclasses
    datasets decord deepspeed diffusers dlib dominate easydict easyocr editdistance einops einops_exts facexlib
    fastai fastapi fastparquet filelock filterpy fire flax fsspec ftfy future fvcore gcsfs gdown gensim geopandas
    gfpgan gpustat gradio h5py httpx ignite imageio imageio_ffmpeg imutils insightface iopath ipdb ipywidgets jax
    joblib jsonargparse jsonlines kaggle kagglehub keras kornia kornia_moons lapx lightgbm lightning line_profiler
    lmdb loguru lpips lvis matplotlib mediapipe memory_profiler mlflow mmaction mmcls mmcv mmdet mmdet3d mmengine
    mmocr mmpose mmpretrain mmrotate mmseg monai motmetrics moviepy msgpack munch natsort neptune netCDF4 networkx
    nibabel ninja nltk nnunet nnunetv2 numba numpy nvidia_smi omegaconf onnx onnxruntime onnxsim open3d optuna
    orjson packaging paddle paddleocr pandas peft piq plotly plyfile polars prettytable psutil ptflops pyarrow
    pybind11 pyclipper pycocotools pycuda pydantic pydicom pyiqa pyngrok pynvml pyrender pytest
    pytorch_metric_learning rapidfuzz rasterio ray realesrgan regex requests rich s3fs sacred safetensors scipy
    seaborn sentencepiece setproctitle shap shapely SimpleITK simplejson six skorch smplx spacy streamlit submitit
    supervision swanlab sympy tables tabulate tensorboard tensorboardX tensorflow tensorflow_addons
    tensorflow_datasets tensorrt termcolor terminaltables tf_keras thop tifffile timm tokenizers toml torch
    torchaudio torchinfo torchmetrics torchsummary torchvision tqdm transformers trimesh typer typing_extensions
    ultralytics unidecode uvicorn visdom wandb webdataset wget xformers xgboost xmltodict yacs zarr
""")
"""Modules that are installed under their own name."""

_INSTALLED_AS: Final = dict(
    line.split(maxsplit=1)
    for line in """
    MinkowskiEngine git+https://github.com/NVIDIA/MinkowskiEngine.git
    antlr4 antlr4-python3-runtime
    apex git+https://github.com/NVIDIA/apex.git --no-build-isolation
    attr attrs
    box python-box
    bs4 beautifulsoup4
    causal_conv1d causal-conv1d --no-build-isolation
    cityscapesscripts cityscapesScripts
    clip git+https://github.com/openai/CLIP.git
    comet_ml comet-ml
    cupy cupy-cuda12x
    cv2 opencv-python-headless
    dateutil python-dateutil
    detectron2 git+https://github.com/facebookresearch/detectron2.git
    distutils setuptools
    docx python-docx
    dotenv python-dotenv
    efficientnet_pytorch efficientnet-pytorch
    face_alignment face-alignment
    facenet_pytorch facenet-pytorch
    faiss faiss-cpu
    ffmpeg ffmpeg-python
    fitz pymupdf
    flash_attn flash-attn --no-build-isolation
    flask Flask
    git GitPython
    google protobuf
    groundingdino git+https://github.com/IDEA-Research/GroundingDINO.git
    huggingface_hub huggingface-hub
    hydra hydra-core
    Image pillow
    imgaug imgaug
    IPython ipython
    jwt PyJWT
    lap lap
    Levenshtein levenshtein
    lightning_fabric lightning-fabric
    lightning_utilities lightning-utilities
    mamba_ssm mamba-ssm --no-build-isolation
    medpy MedPy
    ml_collections ml-collections
    mobile_sam git+https://github.com/ChaoningZhang/MobileSAM.git
    mpl_toolkits matplotlib
    nvidia nvidia-dali-cuda120
    nuscenes nuscenes-devkit
    open_clip open-clip-torch
    OpenEXR OpenEXR
    osgeo GDAL
    panopticapi git+https://github.com/cocodataset/panopticapi.git
    PIL pillow
    pkg_resources setuptools<81
    pretrainedmodels pretrainedmodels
    pylab matplotlib
    pytorch3d git+https://github.com/facebookresearch/pytorch3d.git
    pytorch_grad_cam grad-cam
    pytorch_lightning pytorch-lightning
    pytorch_msssim pytorch-msssim
    pytorch_wavelets pytorch-wavelets
    pywt PyWavelets
    ruamel ruamel.yaml
    sam2 git+https://github.com/facebookresearch/sam2.git
    segment_anything git+https://github.com/facebookresearch/segment-anything.git
    segmentation_models_pytorch segmentation-models-pytorch
    serial pyserial
    setuptools setuptools
    skimage scikit-image
    sklearn scikit-learn
    spconv spconv-cu120
    spatial_correlation_sampler spatial-correlation-sampler
    tensorboard_logger tensorboard-logger
    torch_fidelity torch-fidelity
    torch_geometric torch-geometric
    torch_scatter torch-scatter
    turbojpeg PyTurboJPEG
    usb pyusb
    warmup_scheduler git+https://github.com/ildoonet/pytorch-gradual-warmup-lr.git
    yaml pyyaml
    zmq pyzmq
    """.strip().splitlines()
)
"""Modules that are not installed under their own name, or not from an index."""


def is_package(module: str) -> bool:
    """Whether a top-level module is known to be one of a library.

    Example:
        >>> is_package("cv2"), is_package("utils")
        (True, False)
    """
    return module in _INSTALLED_AS or module in _SAME_NAME


def install_name(module: str) -> str:
    """What pip is told to install for a module.

    Example:
        >>> install_name("cv2"), install_name("timm")
        ('opencv-python-headless', 'timm')
    """
    return _INSTALLED_AS.get(module, module.replace("_", "-"))
