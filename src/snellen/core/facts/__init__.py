"""The facts that before facets ask a plan for, as plain data; the names are those of `Plan.fact`.

config_findings     tuple[Finding, ...]             what is wrong with the run file
source_findings     tuple[Finding, ...]             what the linter says of the run's own code
machine             MachineFacts                    the machine that the run is meant for
environment         EnvironmentFacts                Python, packages and variables that it would be started with
places              tuple[PlaceFacts, ...]          folders that the run writes to: output, caches, temporary files
hub                 HubFacts                        where weights come from, only for a run that fetches some
code                CodeFacts                       what the run's own code imports and compiles
repository          RepositoryFacts                 the git repository of the run's own code
precision           str                             fp32, fp16 or bf16, as it will be
paths               tuple[PathFacts, ...]           every path that the run file names
folders             tuple[FolderFacts, ...]         data folders
audit               tuple[FolderAudit, ...]         data folders listed by layout, every image opened, pixels measured
cache               CacheFacts                      what `data.cache` would hold of the data
names               tuple[FolderNames, ...]         names of files that make trouble, hidden ones included
twins               tuple[Twin, ...]                images that show the same, within and across the folders
weights             tuple[WeightsFacts, ...]        checkpoint files that the run file names
architectures       tuple[Architecture, ...]        which networks those belong to, by their tensors
weights_fit         tuple[FitFacts, ...]            how far they fit, from the task or from the network's name
stated_pixels       tuple[StatedPixels, ...]        how images have to come to a checkpoint, as files beside it say
tracker             TrackerFacts                    the server of curves, for a run that is to upload them
networks            tuple[NetworkFacts, ...]        networks that take the images, for the checks' own providers
flow                tuple[FlowFacts, ...]           the smallest, largest and most oblong images sent through them
batches             model.BatchFacts                how many images a step of training takes
last_batch          int                             images in the smallest batch of an epoch
contracts           tuple[dict, ...]                one per model part, from the task
unfold              UnfoldFacts                     sizes for the correlation of features, from the task
memory              MemoryFacts                     what each phase of the run needs of the device
host_memory         HostMemoryFacts                 what it needs of main memory
checkpoint_bytes    CheckpointFacts                 what its checkpoints take on disk
duration            DurationFacts                   how long it takes, and how long it may
unused_parameters   UnusedFacts                     what the loss does not reach, for a run on several devices
stale_modules       tuple[StaleModule, ...]         modules loaded in this process that changed on disk
project             ProjectFacts                    root of the user's code
"""
